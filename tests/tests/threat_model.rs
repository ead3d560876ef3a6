//! What of the attack suite needs no processes: its table is whole, and its page is what the table makes. The attacks
//! themselves are `make attacks`.

use std::collections::BTreeSet;
use std::path::Path;

use indelible_tests::attacks::sentence::Sentence;
use indelible_tests::attacks::{Attack, TABLE, page};

/// Not played by `make attacks`, as the page says: it is about archives, which there are none of yet.
const NOT_PLAYED: u32 = 12;

#[test]
fn every_attack_of_the_threat_model_is_in_the_table_under_a_name_of_its_own() {
    let numbers: BTreeSet<u32> = TABLE.iter().map(Attack::number).collect();
    assert_eq!(numbers, (1..=32).filter(|n| *n != NOT_PLAYED).collect());
    let names: BTreeSet<&str> = TABLE.iter().map(|attack| attack.name).collect();
    assert_eq!(names.len(), TABLE.len());
}

#[test]
fn every_sentence_says_something() {
    for attack in TABLE.iter() {
        let names =
            ["log", "other", "pod", "source", "new", "data", "witness"].map(|name| (name, "x".to_owned())).to_vec();
        Sentence::new(attack.sentence, &names).unwrap();
        let words = attack.sentence.split_whitespace().filter(|word| !word.contains('{')).count();
        assert!(words >= 5, "{}: {} could be anything", attack.name, attack.sentence);
    }
}

#[test]
fn the_page_has_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/threat-model.md");
    let found = std::fs::read_to_string(&path).unwrap();
    let renewed = page::renewed(&found).expect("the page has a place for the table");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, &renewed).unwrap();
    } else {
        assert!(found == renewed, "docs/threat-model.md has another table: UPDATE_EXPECT=1 renews it");
    }
}
