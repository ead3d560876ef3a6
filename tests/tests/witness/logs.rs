//! Logs that ask a witness, one after the other and all at once.

use indelible_tests::tamper::wire::{from_base64, hex, verifies};
use indelible_tests::world::{Witness, World};

use super::support::Foreign;

/// Checks a cosignature as C2SP says, with nothing of ours: the line is taken apart by hand.
fn is_cosigned(line: &str, vkey: &str, text: &str) -> bool {
    let (name, blob) = line.strip_prefix("— ").unwrap().trim_end().split_once(' ').unwrap();
    let blob = from_base64(blob).unwrap();
    let [key_name, key_id, key] = vkey.splitn(3, '+').collect::<Vec<_>>().try_into().unwrap();
    let key = from_base64(key).unwrap();
    assert_eq!((name, key[0], blob.len()), (key_name, 4, 4 + 8 + 64));
    assert_eq!(hex(&blob[..4]), key_id);
    let time = u64::from_be_bytes(blob[4..12].try_into().unwrap());
    let now = jiff::Timestamp::now().as_second().cast_unsigned();
    assert!((now - 60..=now).contains(&time));
    verifies(&key[1..], format!("cosignature/v1\ntime {time}\n{text}").as_bytes(), &blob[12..])
}

#[test]
fn a_log_that_only_grows_is_cosigned_and_what_was_cosigned_can_be_asked_for() {
    let world = World::start(0).unwrap();
    let log = Foreign::new("a log of others - 1+1", 1);
    let witness = Witness::start(&world, "witness.example", &[&log.flag()], &[]).unwrap();
    assert_eq!(witness.size(log.origin()).unwrap(), None);
    for (old, size) in [(0, 3), (3, 3), (3, 8), (8, 300)] {
        let asked = log.grow(&witness, old, size);
        assert_eq!(asked.status, 200, "{}", asked.body);
        let note = log.note(size, size, 0);
        let text = format!("{}\n", note.split_once("\n\n").unwrap().0);
        assert!(text.ends_with("an extension line\n"));
        assert!(is_cosigned(&asked.body, witness.vkey(), &text));
        let shown = witness.newest(log.origin()).unwrap().body;
        let (shown, lines) = shown.split_once("\n\n").unwrap();
        assert_eq!(format!("{shown}\n"), text);
        assert!(is_cosigned(lines.lines().last().unwrap(), witness.vkey(), &text));
    }
    assert_eq!(witness.size(log.origin()).unwrap(), Some(300));
}

#[test]
fn every_refusal_has_the_status_of_the_format_and_changes_nothing() {
    let world = World::start(0).unwrap();
    let (log, other) = (Foreign::new("foreign.example/log", 1), Foreign::new("foreign.example/log", 2));
    let stranger = Foreign::new("foreign.example/other", 3);
    let witness = Witness::start(&world, "witness.example", &[&log.flag()], &[]).unwrap();
    assert_eq!(log.grow(&witness, 0, 5).status, 200);
    let whole = format!("old 5\n\n{}", log.note(5, 5, 0));
    for (asked, status) in [
        (stranger.grow(&witness, 0, 5), 404),
        (other.grow(&witness, 5, 9), 403),
        (log.grow(&witness, 3, 9), 409),
        (log.add(&witness, 5, (5, 2, 7)), 409),
        (log.add(&witness, 5, (9, 2, 7)), 422),
        (witness.add(10, &[], &log.note(9, 9, 0)).unwrap(), 400),
        (witness.ask("POST", "/add-checkpoint", "nonsense").unwrap(), 400),
        (witness.ask("POST", "/add-checkpoint", &whole[..whole.len() - 9]).unwrap(), 400),
        (witness.ask("POST", "/add-checkpoint", &"x".repeat(40_000)).unwrap(), 413),
        (witness.ask("GET", "/add-checkpoint", "").unwrap(), 404),
        (witness.ask("DELETE", "/add-checkpoint", "").unwrap(), 405),
    ] {
        assert_eq!(asked.status, status, "{}", asked.body);
        if status == 409 {
            assert!(asked.head.contains("content-type: text/x.tlog.size"), "{}", asked.head);
            assert_eq!(asked.body, "5\n");
        }
    }
    assert_eq!(witness.size(log.origin()).unwrap(), Some(5));
    // What shows that the log contradicts itself is kept.
    let kept: Vec<_> = std::fs::read_dir(witness.data().join("contradictions")).unwrap().collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(std::fs::read_to_string(kept[0].as_ref().unwrap().path()).unwrap(), log.note(5, 2, 7));
}

#[test]
fn of_checkpoints_that_diverge_exactly_one_is_cosigned_however_many_ask_at_once() {
    let world = World::start(0).unwrap();
    let log = Foreign::new("foreign.example/log", 1);
    let witness = Witness::start(&world, "witness.example", &[&log.flag()], &[]).unwrap();
    assert_eq!(log.grow(&witness, 0, 5).status, 200);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let ask = |salt| {
            scope.spawn({
                let (log, witness) = (&log, &witness);
                move || log.add(witness, 5, (9, 5, salt)).status
            })
        };
        let asked: Vec<_> = (1..=16).map(ask).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    let of = |status| statuses.iter().filter(|of| **of == status).count();
    assert_eq!((of(200), of(409)), (1, 15), "{statuses:?}");
}
