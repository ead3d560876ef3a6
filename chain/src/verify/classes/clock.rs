//! The class `clock`: clocks disagree.
//!
//! Order never rests on a clock, so a wrong one harms no verdict but that on freshness. Told once for each log and
//! session and kind, with the first place and the number of them.

use super::super::case::Case;
use super::super::class::{Axis, Class, Level};
use super::super::facts::{Place, SessionNo, ViewId};
use super::super::text::Utc;
use super::findings::{About, Findings};

const WRONG: (Axis, Level) = (Axis::Freshness, Level::Warn);

/// A time over 60 s in the future; `received_at` falls along a log by over 60 s; time of a heartbeat and its liveness
/// leaf's `received_at` differ by over 11 min; only within `--max-age`: freshness warn, that log or session.
pub(super) fn clock(case: &Case<'_>, out: &mut Findings) {
    let now = Utc(case.terms.now);
    for (number, view) in case.facts.views.iter().enumerate() {
        let id = ViewId(number);
        if let Some((index, time, count)) = view.clock.future {
            let text = format!(
                "{count} leaves of {} are dated in the future, the first (leaf {index}) at {}; now is {now}. Set the \
                 collector's clock, or this machine's.",
                case.log(id),
                Utc(time),
            );
            out.add(Class::Clock, WRONG, About::leaf(case, Place { view: id, index }), text);
        }
        if let Some((index, from, to, count)) = view.clock.falls {
            let text = format!(
                "the clock of {} went back {count} times, first at leaf {index} from {} to {}. See to the collector's \
                 clock.",
                case.log(id),
                Utc(from),
                Utc(to),
            );
            out.add(Class::Clock, WRONG, About::leaf(case, Place { view: id, index }), text);
        }
    }
    for (number, session) in (0..).zip(&case.facts.sessions) {
        if session.session.as_deref().is_some_and(|session| !case.pod_in_scope(session)) {
            continue;
        }
        let sidecar = case.sidecar(SessionNo(number));
        if let Some((place, time, count)) = session.clock.future {
            let text = format!(
                "{sidecar} signed {count} times in the future, first {} in leaf {} of {}; now is {now}. Set the node's \
                 clock, or this machine's.",
                Utc(time),
                place.index,
                case.log(place.view),
            );
            out.add(Class::Clock, WRONG, About::leaf(case, place), text);
        }
        if let Some((place, time, received, count)) = session.clock.apart {
            let text = format!(
                "{count} heartbeats of {sidecar} were stored long before or after they were signed, first one signed at \
                 {} and stored at {} (leaf {} of {}). One of the two clocks is wrong, or an old heartbeat was stored \
                 again.",
                Utc(time),
                Utc(received),
                place.index,
                case.log(place.view),
            );
            out.add(Class::Clock, WRONG, About::leaf(case, place), text);
        }
    }
}
