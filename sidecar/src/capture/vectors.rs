//! The `files` cases of the format's test vectors, driven through all of capture.

use indelible_chain::digest::Digest;

use super::rig::Rig;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn content(file: &serde_json::Value) -> Vec<u8> {
    if let Some(text) = file["hex"].as_str() {
        return hex(text);
    }
    let runs = file["runs"].as_array().unwrap().iter();
    runs.flat_map(|run| hex(run[0].as_str().unwrap()).repeat(usize::try_from(run[1].as_u64().unwrap()).unwrap()))
        .collect()
}

fn cases() -> Vec<serde_json::Value> {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../chain/tests/data/vectors.json")).unwrap();
    let vectors: serde_json::Value = serde_json::from_str(&text).unwrap();
    vectors["files"].as_array().unwrap().clone()
}

/// Files appear one after the other as a kubelet would have made them, `chunk` bytes at a time.
fn replay(case: &serde_json::Value, chunk: usize) -> Rig {
    let mut rig = Rig::new();
    // Restarts that a case does not have were without a byte: else they would be a gap.
    rig.logs.make("c");
    rig.settle();
    let restart =
        |file: &serde_json::Value| file["name"].as_str().unwrap().split('.').next().unwrap().parse::<u32>().unwrap();
    for n in 0..=case["files"].as_array().unwrap().iter().map(restart).max().unwrap() {
        rig.logs.append("c", &format!("{n}.log"), b"");
    }
    for file in case["files"].as_array().unwrap() {
        let name = file["name"].as_str().unwrap();
        let live = format!("{}.log", name.split('.').next().unwrap());
        rig.logs.append("c", &live, b"");
        for piece in content(file).chunks(chunk) {
            rig.logs.append("c", &live, piece);
            rig.settle();
            rig.receipt(1);
        }
        if name != live {
            rig.logs.rename("c", &live, name);
        }
    }
    rig
}

fn check(case: &serde_json::Value, mut rig: Rig) {
    let name = case["name"].as_str().unwrap();
    if case["chain_ends"].as_bool().unwrap() {
        rig.terminate();
    } else {
        rig.drain();
    }
    let expected = case["records"].as_array().unwrap();
    let records = rig.only();
    for (n, (said, expected)) in records.iter().zip(expected).enumerate() {
        assert_eq!(said.time, expected["time"].as_i64().unwrap(), "{name}: time of {n}");
        assert_eq!(u64::from(said.source.code()), expected["source"].as_u64().unwrap(), "{name}: source of {n}");
        assert_eq!(u64::from(said.flags.bits()), expected["flags"].as_u64().unwrap(), "{name}: flags of {n}");
        if let Some(text) = expected["payload"].as_str() {
            assert_eq!(said.payload, hex(text), "{name}: payload of {n}");
        } else {
            assert_eq!(said.payload.len() as u64, expected["payload"]["length"].as_u64().unwrap(), "{name}: {n}");
            let digest = Digest::sha256(&said.payload).to_string();
            assert_eq!(digest, expected["payload"]["sha256"].as_str().unwrap(), "{name}: payload of {n}");
        }
    }
    let head = records[expected.len() - 1].link.to_string();
    assert_eq!(head, case["head"].as_str().unwrap(), "{name}");
    let ends = usize::from(case["chain_ends"].as_bool().unwrap());
    assert_eq!(records.len(), expected.len() + ends, "{name}");
}

#[test]
fn every_case_of_the_vectors_gives_its_head() {
    for case in cases() {
        check(&case, replay(&case, 1 << 16));
    }
}

#[test]
fn every_case_gives_its_head_however_the_bytes_come() {
    for case in cases() {
        let long = case["files"].as_array().unwrap().iter().any(|file| file["runs"].is_array());
        for chunk in if long { [9999, 200_000] } else { [1, 17] } {
            check(&case, replay(&case, chunk));
        }
    }
}
