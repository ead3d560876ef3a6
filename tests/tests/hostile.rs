//! Servers that answer a reader with what has no end, no speed or no place, and what the reader says of them.
#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

use std::process::Command;
use std::time::Duration;

use http::Response;
use indelible_tests::crowd::{Content, endless};
use indelible_tests::liar::{Answer, Liar};
use indelible_tests::world::{Authority, binary};

const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

fn with_header(status: u16, name: &'static str, value: String) -> Answer {
    let mut answer: Response<Content> = Response::new(endless(1, None));
    *answer.status_mut() = status.try_into().unwrap();
    answer.headers_mut().insert(name, value.try_into().unwrap());
    Answer::Says(answer)
}

/// What a reader says of a server that answers everything so.
fn said_of(answer: fn(&str) -> Answer) -> String {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path()).unwrap();
    let liar = Liar::start(&authority, dir.path(), VKEY, answer).unwrap();
    let output = Command::new(binary("indelible").unwrap())
        .args(["logs", liar.url(), "--log-key", VKEY, "--ca"])
        .arg(authority.ca())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains(liar.url()), "{said}");
    said
}

#[test]
fn a_hostile_server_is_left_within_a_bound_that_is_named() {
    type Case = (fn(&str) -> Answer, &'static [&'static str]);
    let cases: [Case; 4] = [
        (
            |_| Answer::Says(Response::new(endless(64 * 1024, None))),
            &["over the limit of 16777216 bytes", "read a copy of the data directory"],
        ),
        (
            |_| Answer::Says(Response::new(endless(1, Some(Duration::from_secs(1))))),
            &["less than 16384 bytes a second", "better connection"],
        ),
        (|_| with_header(200, "x-filler", "x".repeat(64 * 1024)), &["asking"]),
        (
            |_| with_header(302, "location", "https://127.0.0.1:1/".to_owned()),
            &["302 Found", "redirects are not followed"],
        ),
    ];
    std::thread::scope(|scope| {
        for (answer, names) in cases {
            scope.spawn(move || {
                let said = said_of(answer);
                for name in names {
                    assert!(said.contains(name), "{name} is not in {said}");
                }
            });
        }
    });
}
