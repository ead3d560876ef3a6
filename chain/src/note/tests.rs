//! What a note must refuse, and that reading and writing are each other's inverse.

use proptest::prelude::*;

use super::*;

fn signer(name: &str) -> NoteSigner {
    NoteSigner::new(name.parse().unwrap(), &[name.len().try_into().unwrap(); 32])
}

fn parse(note: &str) -> Result<Note, NoteError> {
    Note::parse(note.as_bytes())
}

#[test]
fn the_text_ends_at_the_last_empty_line() {
    let signer = signer("a");
    for text in ["x\n", "\n", "\n\n", "x\n\n", "x\n\ny\n", "x\n\n— a AAAAAAA=\n"] {
        let note = signer.sign_note(text).unwrap();
        let read = parse(&note.to_string()).unwrap();
        assert_eq!(read.text(), text);
        assert_eq!(read, note);
        assert!(read.verify([signer.verifier_key()]).is_ok());
    }
}

#[test]
fn malformed_notes_are_refused() {
    let line = "— a AAAAAAA=\n";
    assert!(parse(&format!("x\n\n{line}")).is_ok());
    for (note, error) in [
        (String::new(), NoteError::NoSignatures),
        ("x\n".into(), NoteError::NoSignatures),
        ("x\n\n".into(), NoteError::NoSignatures),
        (format!("x\n{line}"), NoteError::NoSignatures),
        (format!("\n{line}"), NoteError::NoSignatures),
        (format!("x\n\n{}", line.trim_end()), NoteError::NoSignatures),
        (format!("x\n\n{line}\n"), NoteError::NoSignatures),
        (format!("x\n\n{line}x\n"), NoteError::SignatureLine(2)),
        (format!("x\r\n\n{line}"), NoteError::ControlCharacter(13)),
        (format!("x\ty\n\n{line}"), NoteError::ControlCharacter(9)),
        ("x\n\n- a AAAAAAA=\n".into(), NoteError::SignatureLine(1)),
        ("x\n\n—  a AAAAAAA=\n".into(), NoteError::SignatureLine(1)),
        ("x\n\n— a  AAAAAAA=\n".into(), NoteError::SignatureLine(1)),
        ("x\n\n— a AAAAAAA= \n".into(), NoteError::SignatureLine(1)),
        ("x\n\n— a AAAAAAA\n".into(), NoteError::SignatureLine(1)),
        ("x\n\n— a AAAAAAB=\n".into(), NoteError::SignatureLine(1)),
        ("x\n\n— a AAAAAA==\n".into(), NoteError::SignatureLine(1)),
        ("x\n\n— a AAAA\n".into(), NoteError::SignatureLine(1)),
        ("x\n\n— a+b AAAAAAA=\n".into(), NoteError::SignatureLine(1)),
        ("x\n\n— a\u{2003}b AAAAAAA=\n".into(), NoteError::SignatureLine(1)),
    ] {
        assert_eq!(parse(&note), Err(error), "{note:?}");
    }
    assert_eq!(Note::parse(b"x\xff\n\n"), Err(NoteError::Utf8));
}

#[test]
fn notes_are_bounded() {
    let line = "— a AAAAAAA=\n";
    assert!(parse(&format!("x\n\n{}", line.repeat(MAX_SIGNATURES))).is_ok());
    assert_eq!(parse(&format!("x\n\n{}", line.repeat(MAX_SIGNATURES + 1))), Err(NoteError::TooManySignatures));

    let text = "x".repeat(MAX_TEXT_BYTES - 1) + "\n";
    assert!(parse(&format!("{text}\n{line}")).is_ok());
    assert_eq!(parse(&format!("x{text}\n{line}")), Err(NoteError::TextTooLong(MAX_TEXT_BYTES + 1)));
    assert_eq!(Note::parse(&vec![b'x'; MAX_NOTE_BYTES + 1]), Err(NoteError::TooLong(MAX_NOTE_BYTES + 1)));

    let long = format!("x\n\n— a {}\n", "A".repeat(MAX_LINE_BYTES));
    assert_eq!(parse(&long), Err(NoteError::SignatureLine(1)));

    let signer = signer("a");
    let mut note = signer.sign_note("x\n").unwrap();
    for i in 1..=MAX_SIGNATURES {
        let other = NoteSignature::by(signer.verifier_key(), vec![1; i]);
        assert_eq!(note.add(other).is_ok(), i < MAX_SIGNATURES);
    }
    let first = note.signatures()[0].clone();
    assert_eq!(note.add(first), Ok(()));
    assert_eq!(note.signatures().len(), MAX_SIGNATURES);
}

#[test]
fn a_text_that_no_note_can_hold_is_not_signed() {
    assert_eq!(signer("a").sign_note("x"), Err(NoteError::TextEnd));
    assert_eq!(signer("a").sign_note(""), Err(NoteError::TextEnd));
    assert_eq!(signer("a").sign_note("x\u{1}\n"), Err(NoteError::ControlCharacter(1)));
    assert_eq!(Note::new("x\n", vec![]), Err(NoteError::NoSignatures));
}

#[test]
fn signatures_by_unknown_keys_are_ignored_and_bad_ones_by_known_keys_are_not() {
    let (known, other) = (signer("known"), signer("other-one"));
    let mut note = known.sign_note("x\n").unwrap();
    note.add(other.sign_note("another text\n").unwrap().signatures()[0].clone()).unwrap();

    let verified = note.verify([known.verifier_key()]).unwrap();
    assert_eq!(verified, [Verified { key: known.verifier_key(), cosigned_at: None }]);
    let bad = VerifyNoteError::BadSignature { name: "other-one".parse().unwrap(), key_id: other.verifier_key().id() };
    assert_eq!(note.verify([known.verifier_key(), other.verifier_key()]), Err(bad.clone()));
    assert_eq!(note.verify([other.verifier_key()]), Err(bad));
    assert_eq!(note.verify([signer("third").verifier_key()]), Err(VerifyNoteError::NoKnownKey(2)));
    assert_eq!(note.verify([]), Err(VerifyNoteError::NoKnownKey(2)));
}

#[test]
fn a_second_signature_by_a_known_key_must_hold_too() {
    let known = signer("known");
    let mut note = known.sign_note("x\n").unwrap();
    note.add(NoteSignature::by(known.verifier_key(), vec![0; 64])).unwrap();
    assert!(matches!(note.verify([known.verifier_key()]), Err(VerifyNoteError::BadSignature { .. })));
}

#[test]
fn a_key_of_the_same_name_or_the_same_id_is_another_key() {
    let signer = signer("known");
    let note = signer.sign_note("x\n").unwrap();
    let renamed = NoteSigner::new("renamed".parse().unwrap(), &[5; 32]);
    let cosigner = VerifierKey::new("known".parse().unwrap(), Algorithm::CosignatureV1, signer.private_key().public());
    assert_eq!(note.verify([renamed.verifier_key(), &cosigner]), Err(VerifyNoteError::NoKnownKey(1)));
}

#[test]
fn a_note_with_any_byte_of_its_text_or_signature_changed_does_not_verify() {
    let signer = signer("known");
    let note = signer.sign_note("a text\n").unwrap().to_string();
    for at in 0..note.len() {
        let mut bytes = note.clone().into_bytes();
        bytes[at] ^= 1;
        let verified = Note::parse(&bytes).is_ok_and(|note| note.verify([signer.verifier_key()]).is_ok());
        assert!(!verified, "byte {at}");
    }
}

proptest! {
    #[test]
    fn bytes_that_are_a_note_are_its_only_encoding(
        note in "(x|\n|é| ){0,4}\n(— [ax+]{1,2} (AAAAAA[AB]=|[A-Za-z0-9+/]{8}|AAAAAAAA[A-D]{2}==)\n|\n){0,3}",
    ) {
        if let Ok(read) = parse(&note) {
            prop_assert_eq!(read.to_string(), note);
        }
    }

    #[test]
    fn reading_any_bytes_never_panics(bytes: Vec<u8>) {
        let _ = Note::parse(&bytes);
    }

    #[test]
    fn a_signed_text_is_read_back_and_verifies(text in "(\\PC|\n){0,40}\n") {
        let signer = signer("known");
        let note = signer.sign_note(text).unwrap();
        let read = parse(&note.to_string()).unwrap();
        prop_assert!(read.verify([signer.verifier_key()]).is_ok());
        prop_assert_eq!(read, note);
    }
}
