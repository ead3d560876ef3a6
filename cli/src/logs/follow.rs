//! `logs --follow`: new records, as they come under checkpoints that extend what was judged.
//!
//! Each log that was judged to its end has a thread ([`followed`](super::followed)) that hands on leaves under
//! checkpoints; one printer joins chains over all of them ([`joined`](super::joined)). What cannot be followed is said
//! on stderr, once; the exit code tells what was false (1), what is missing (2), and what was away at the end (4).

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use indelible_chain::policy::Policy;
use indelible_chain::verify::Report;
use tokio::runtime::Handle;

use super::followed::{Followed, News};
use super::joined::Joined;
use super::lines::Printer;
use crate::exit::{UNVERIFIED, unless_shown, worse};
use crate::judging::{Judged, Named};
use crate::limits::FOLLOW_QUEUE;
use crate::terminal::say;
use crate::text::one_line;

/// How often what was printed is handed on, and the user's wish to end is looked for.
const TURN: Duration = Duration::from_millis(100);

/// What is followed.
pub struct Logs<'a> {
    /// Where the logs are.
    pub sources: Vec<Named>,
    /// Those that were judged.
    pub judged: Vec<Judged>,
    /// What the judge said of them.
    pub report: &'a Report,
}

/// Follows the sources until interrupted; gives the exit code.
pub fn run<W: Write>(
    Logs { sources, judged, report }: Logs<'_>,
    joined: Joined,
    policy: &Policy,
    printer: &mut Printer<W>,
    runtime: &Handle,
) -> u8 {
    let (send, news) = sync_channel(FOLLOW_QUEUE);
    let mut logs: HashMap<usize, Judged> = judged.into_iter().map(|log| (log.source, log)).collect();
    for (n, source) in sources.into_iter().enumerate() {
        match followed(source, logs.remove(&n), report, policy) {
            Ok(followed) => {
                let send = send.clone();
                std::thread::spawn(move || followed.follow(&send));
            }
            Err(why) => say(format_args!("{why}")),
        }
    }
    drop(send);
    show(joined, &news, &interrupted(runtime), printer)
}

/// A source that can be followed, or why it is not.
fn followed(source: Named, log: Option<Judged>, report: &Report, policy: &Policy) -> Result<Followed, String> {
    let not = |label: &str, why: &str| format!("{} is not followed: {why}", one_line(label));
    match (source, log) {
        (Named::Closed { label, why }, _) => Err(not(&label, &why)),
        (Named::Open(source), None) => Err(not(&source.label(), "it could not be read; start again when it can be")),
        (Named::Open(source), Some(log)) => {
            let label = source.label();
            Followed::new(source, &log, report, policy).map_err(|why| not(&label, why))
        }
    }
}

/// Says when the user has had enough.
fn interrupted(runtime: &Handle) -> Receiver<()> {
    let (send, interrupted) = sync_channel(1);
    runtime.spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            let _ = send.try_send(());
        }
    });
    interrupted
}

/// Shows what comes, until it is enough or nothing more can come or be written; gives the exit code.
fn show<W: Write>(
    mut joined: Joined,
    news: &Receiver<News>,
    interrupted: &Receiver<()>,
    printer: &mut Printer<W>,
) -> u8 {
    let mut away = BTreeSet::new();
    let shown = print(&mut joined, news, interrupted, printer, &mut away);
    joined.finish();
    let exit = if away.is_empty() { joined.exit() } else { worse(joined.exit(), UNVERIFIED) };
    unless_shown(exit, shown)
}

/// Prints what comes; `away` are the logs that are away.
fn print<W: Write>(
    joined: &mut Joined,
    news: &Receiver<News>,
    interrupted: &Receiver<()>,
    printer: &mut Printer<W>,
    away: &mut BTreeSet<String>,
) -> io::Result<()> {
    let mut flushed = Instant::now();
    while interrupted.try_recv().is_err() {
        match news.recv_timeout(TURN) {
            Ok(News::Frame { log, frame }) => joined.frame(&log, &frame, printer)?,
            Ok(News::Away { log, why, sealed }) => {
                let since = if sealed { ", sealed" } else { "" };
                let again = "it is asked again until it is back";
                say(format_args!("{log} is away{since}: {}; {again}", one_line(&why)));
                // One that has ended in order owes nothing.
                if !sealed {
                    away.insert(log.to_string());
                }
            }
            Ok(News::Back { log }) => {
                say(format_args!("{log} is back"));
                away.remove(&*log);
            }
            Ok(News::Ended { log, why, exit }) => {
                away.remove(&*log);
                joined.complain(exit, &format!("{log} is not followed any more: {why}"));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if flushed.elapsed() > TURN {
            printer.flush()?;
            flushed = Instant::now();
        }
    }
    printer.end()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use indelible_chain::verify::Scope;

    use super::super::lines::Format;
    use super::super::tests::Broken;
    use super::*;
    use crate::demo::issuer::Issuer;
    use crate::judging::Introduced;
    use crate::source::directory::Directory;
    use crate::source::{Found, OwnedFrame};
    use crate::testlog::TestLog;

    #[test]
    fn what_was_false_while_it_was_followed_is_told_even_if_the_output_breaks() {
        let log = TestLog::new(1, &Issuer::new().unwrap());
        let (send, news) = sync_channel(FOLLOW_QUEUE);
        Directory::open(log.path())
            .unwrap()
            .frames(0, log.size(), &mut |found| {
                let Found::Frame(frame) = found else { panic!("it is whole") };
                send.send(News::Frame { log: Arc::from("test"), frame: OwnedFrame::from(frame) }).unwrap();
            })
            .unwrap();
        send.send(News::Ended { log: Arc::from("test"), why: "rewritten".into(), exit: 1 }).unwrap();
        drop(send);
        let (_enough, interrupted) = sync_channel(1);
        let format = Format { timestamps: false, prefix: false, json: false };
        let mut printer = Printer::new(Broken, format, Scope::default());
        let joined = Joined::new(Introduced::default(), HashMap::new(), None, 0).unwrap();
        assert_eq!(show(joined, &news, &interrupted, &mut printer), 1);
    }
}
