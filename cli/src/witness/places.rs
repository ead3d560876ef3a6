//! Places for connections: bounded, and whoever has been idle for longest gives his up to one that comes.
//!
//! Idle is a connection of which no whole request is in hand: one that says nothing, one that says its request slowly,
//! one that was answered. So many that do nothing cannot keep out one that asks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// All places.
#[derive(Debug)]
pub struct Places {
    most: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// Places that are taken.
    taken: usize,
    /// Each change to idle gets the next.
    next: u64,
    idle: BTreeMap<u64, watch::Sender<bool>>,
}

/// A connection's place.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    state: Mutex<State>,
    /// Set when another one has taken it.
    lost: watch::Sender<bool>,
    busy: watch::Sender<usize>,
}

#[derive(Debug)]
struct State {
    /// Its number among the idle ones.
    idle: Option<u64>,
    busy: usize,
}

/// A request in hand.
#[derive(Debug)]
pub struct Busy(Arc<Place>);

impl Places {
    /// So many, all free.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, held: Mutex::default() })
    }

    /// A place for a connection that has just come; none if all are busy.
    pub fn take(self: &Arc<Self>) -> Option<Arc<Place>> {
        let lost = watch::Sender::new(false);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.taken == self.most {
            let (_, oldest) = held.idle.pop_first()?;
            oldest.send_replace(true);
        } else {
            held.taken += 1;
        }
        let idle = Some(held.idles(&lost));
        drop(held);
        let state = Mutex::new(State { idle, busy: 0 });
        Some(Arc::new(Place { places: Arc::clone(self), state, lost, busy: watch::Sender::new(0) }))
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).taken
    }
}

impl Held {
    fn idles(&mut self, lost: &watch::Sender<bool>) -> u64 {
        self.next += 1;
        self.idle.insert(self.next, lost.clone());
        self.next
    }
}

impl Place {
    /// A whole request is in hand: nobody takes the place until it is answered. `None` if somebody has.
    pub fn busy(self: &Arc<Self>) -> Option<Busy> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held = self.places.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = state.idle {
            held.idle.remove(&number)?;
            state.idle = None;
        }
        state.busy += 1;
        self.busy.send_replace(state.busy);
        Some(Busy(Arc::clone(self)))
    }

    /// Ends when another one has taken the place.
    pub async fn lost(&self) {
        let _ = self.lost.subscribe().wait_for(|lost| *lost).await;
    }

    /// How many requests are in hand.
    pub fn requests(&self) -> watch::Receiver<usize> {
        self.busy.subscribe()
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held = self.0.places.held.lock().unwrap_or_else(PoisonError::into_inner);
        state.busy -= 1;
        if state.busy == 0 {
            state.idle = Some(held.idles(&self.0.lost));
        }
        self.0.busy.send_replace(state.busy);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut held = self.places.held.lock().unwrap_or_else(PoisonError::into_inner);
        // Who lost it has nothing to give back: another one has it.
        if state.idle.is_none_or(|number| held.idle.remove(&number).is_some()) {
            held.taken -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_lost(place: &Place) -> bool {
        *place.lost.borrow()
    }

    #[test]
    fn a_place_goes_from_who_was_idle_longest_to_who_comes() {
        let places = Places::new(3);
        let [first, second, third] = [(); 3].map(|()| places.take().unwrap());
        drop(first.busy().unwrap());
        let fourth = places.take().unwrap();
        assert_eq!([&first, &second, &third, &fourth].map(|place| is_lost(place)), [false, true, false, false]);
        assert!(second.busy().is_none());
        drop(second);
        assert_eq!(places.taken(), 3);
        drop((first, third, fourth));
        assert_eq!((places.taken(), places.held.lock().unwrap().idle.len()), (0, 0));
    }

    #[test]
    fn nobody_takes_the_place_of_who_is_busy() {
        let places = Places::new(2);
        let [first, second] = [(); 2].map(|()| places.take().unwrap());
        let (one, two, other) = (first.busy().unwrap(), first.busy().unwrap(), second.busy().unwrap());
        assert!(places.take().is_none());
        drop(one);
        assert!(places.take().is_none());
        drop(two);
        let third = places.take().unwrap();
        assert!(is_lost(&first) && !is_lost(&second));
        drop((other, first, second, third));
        assert_eq!(places.taken(), 0);
    }
}
