//! Reading a policy file, line by line, and telling a person what is wrong with it.
//!
//! Every error names its line, what stands there and what to write instead; what it repeats of the file is cut to a
//! few characters. The bound on the input bounds everything else: each line defines at most one thing.

use std::collections::BTreeMap;

use super::{Group, Log, Party, Policy, Witness};
use crate::note::text::parse_decimal;
use crate::note::{Algorithm, VerifierKey, VerifierKeyError};

/// The longest policy file, in bytes.
pub const MAX_POLICY_BYTES: usize = 1024 * 1024;

/// How deep groups may stand in groups: C2SP asks for at least 32 groups, which may all be nested.
pub const MAX_NESTING: usize = 32;

/// The name that stands for no witness at all.
const NONE: &str = "none";

/// Why bytes are no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Longer than [`MAX_POLICY_BYTES`].
    #[error("a policy of {0} bytes is over the limit of {MAX_POLICY_BYTES}")]
    TooLong(usize),
    /// A line is wrong. Counted from 1.
    #[error("policy line {line}: {problem}")]
    Line {
        /// The line.
        line: usize,
        /// What is wrong.
        problem: PolicyProblem,
    },
    /// No quorum line.
    #[error("the policy has no quorum: end it with `quorum <witness or group>`, or with `quorum none`")]
    NoQuorum,
}

/// What is wrong with a line of a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyProblem {
    /// Not UTF-8.
    #[error("it is not UTF-8; save the file as UTF-8")]
    Utf8,
    /// A control character.
    #[error("it holds the control character U+{0:04X}; only tabs and newlines are allowed")]
    ControlCharacter(u32),
    /// An unknown first field.
    #[error("{0} is not known; a line begins with log, witness, group, quorum or #")]
    Keyword(String),
    /// Too few or too many fields.
    #[error("expected `{0}`")]
    Fields(&'static str),
    /// The verifier key cannot be read.
    #[error("its verifier key cannot be used: {0}")]
    Key(VerifierKeyError),
    /// A key of the other type.
    #[error("the key is of type 0x{found:02x}, expected 0x{expected:02x}: 0x01 is for logs, 0x04 for witnesses")]
    KeyType {
        /// The type byte for such a line.
        expected: u8,
        /// The key's type byte.
        found: u8,
    },
    /// The public key stands on another line.
    #[error("the same public key stands on line {0}; each log and each witness has a key of its own")]
    DuplicateKey(usize),
    /// The name is defined on another line.
    #[error("the name {name} is defined on line {line}; choose another")]
    DuplicateName {
        /// The name.
        name: String,
        /// Where it is defined.
        line: usize,
    },
    /// The name `none`.
    #[error("the name none is reserved for `quorum none`; choose another")]
    ReservedName,
    /// A name that no line before defines.
    #[error("{0} is no witness or group defined on a line before this one")]
    UnknownName(String),
    /// A member of two groups, or twice of one.
    #[error("{name} is a member of a group on line {line}; it can be one only once")]
    SecondMembership {
        /// The name.
        name: String,
        /// Where it is a member.
        line: usize,
    },
    /// Not a threshold of the group.
    #[error("{threshold} of {members} members is no threshold; expected all, any or a number from 1 to {members}")]
    Threshold {
        /// What the line says.
        threshold: String,
        /// Members of the group.
        members: usize,
    },
    /// Nested deeper than [`MAX_NESTING`].
    #[error("groups are nested deeper than {MAX_NESTING}; list the witnesses in fewer levels")]
    TooDeep,
    /// A second log of one name.
    #[error("the log {origin} has another key on line {line}; a new key is a new log with a name of its own, keep one")]
    DuplicateOrigin {
        /// The name.
        origin: String,
        /// Where it stands first.
        line: usize,
    },
    /// A second quorum line.
    #[error("the quorum is already given on line {0}; keep one")]
    SecondQuorum(usize),
}

impl Policy {
    /// Reads a policy file.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        if bytes.len() > MAX_POLICY_BYTES {
            return Err(PolicyError::TooLong(bytes.len()));
        }
        let mut parser = Parser::default();
        for (line, number) in bytes.split(|byte| *byte == b'\n').zip(1..) {
            parser.number = number;
            parser.line(line).map_err(|problem| PolicyError::Line { line: number, problem })?;
        }
        let Parser { logs, witnesses, groups, quorum, .. } = parser;
        let (quorum, _) = quorum.ok_or(PolicyError::NoQuorum)?;
        Ok(Self { logs, witnesses, groups, quorum })
    }
}

/// What the lines so far have defined.
#[derive(Default)]
struct Parser {
    /// The present line, from 1.
    number: usize,
    logs: Vec<Log>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    quorum: Option<(Option<Party>, usize)>,
    /// Public keys and the lines that they stand on.
    keys: BTreeMap<[u8; 32], usize>,
    /// Names of logs and the lines that they stand on.
    origins: BTreeMap<String, usize>,
    names: BTreeMap<String, Definition>,
}

struct Definition {
    party: Party,
    line: usize,
    /// 0 for a witness, one more than its deepest member for a group.
    depth: usize,
    /// The line of the group that it is a member of.
    member_on: Option<usize>,
}

impl Parser {
    fn line(&mut self, line: &[u8]) -> Result<(), PolicyProblem> {
        let line = str::from_utf8(line).map_err(|_| PolicyProblem::Utf8)?;
        if let Some(control) = line.chars().find(|c| c.is_ascii_control() && *c != '\t') {
            return Err(PolicyProblem::ControlCharacter(control.into()));
        }
        let mut fields = line.split([' ', '\t']).filter(|field| !field.is_empty());
        let Some(keyword) = fields.next() else { return Ok(()) };
        if keyword.starts_with('#') {
            return Ok(());
        }
        let fields: Vec<&str> = fields.collect();
        match keyword {
            "log" => self.log(&fields),
            "witness" => self.witness(&fields),
            "group" => self.group(&fields),
            "quorum" => self.quorum(&fields),
            other => Err(PolicyProblem::Keyword(shown(other))),
        }
    }

    fn log(&mut self, fields: &[&str]) -> Result<(), PolicyProblem> {
        let (key, url) = match *fields {
            [key] => (key, None),
            [key, url] => (key, Some(url.to_owned())),
            _ => return Err(PolicyProblem::Fields("log <verifier key> [url]")),
        };
        let key = self.key(key, Algorithm::Ed25519)?;
        if let Some(line) = self.origins.insert(key.name().as_str().to_owned(), self.number) {
            return Err(PolicyProblem::DuplicateOrigin { origin: shown(key.name().as_str()), line });
        }
        self.logs.push(Log { origin: key.name().clone().into(), key, url });
        Ok(())
    }

    fn witness(&mut self, fields: &[&str]) -> Result<(), PolicyProblem> {
        let (name, key, url) = match *fields {
            [name, key] => (name, key, None),
            [name, key, url] => (name, key, Some(url.to_owned())),
            _ => return Err(PolicyProblem::Fields("witness <name> <verifier key> [url]")),
        };
        let key = self.key(key, Algorithm::CosignatureV1)?;
        self.define(name, Party::Witness(self.witnesses.len()), 0)?;
        self.witnesses.push(Witness { name: name.to_owned(), key, url });
        Ok(())
    }

    fn group(&mut self, fields: &[&str]) -> Result<(), PolicyProblem> {
        let [name, threshold, ref names @ ..] = *fields else {
            return Err(PolicyProblem::Fields("group <name> all|any|<k> <member>…"));
        };
        if names.is_empty() {
            return Err(PolicyProblem::Fields("group <name> all|any|<k> <member>…"));
        }
        let threshold = parse_threshold(threshold, names.len())?;
        let mut members = Vec::with_capacity(names.len());
        let mut depth = 0;
        for name in names {
            let member = self.names.get_mut(*name).ok_or_else(|| PolicyProblem::UnknownName(shown(name)))?;
            if let Some(line) = member.member_on.replace(self.number) {
                return Err(PolicyProblem::SecondMembership { name: shown(name), line });
            }
            depth = depth.max(member.depth + 1);
            members.push(member.party);
        }
        if depth > MAX_NESTING {
            return Err(PolicyProblem::TooDeep);
        }
        self.define(name, Party::Group(self.groups.len()), depth)?;
        self.groups.push(Group { threshold, members });
        Ok(())
    }

    fn quorum(&mut self, fields: &[&str]) -> Result<(), PolicyProblem> {
        let [name] = *fields else { return Err(PolicyProblem::Fields("quorum <witness or group>|none")) };
        if let Some((_, line)) = self.quorum {
            return Err(PolicyProblem::SecondQuorum(line));
        }
        let party = match self.names.get(name) {
            Some(definition) => Some(definition.party),
            None if name == NONE => None,
            None => return Err(PolicyProblem::UnknownName(shown(name))),
        };
        self.quorum = Some((party, self.number));
        Ok(())
    }

    /// A key of this type whose public key no other line has: a cosigner's key is never a log key either.
    fn key(&mut self, text: &str, algorithm: Algorithm) -> Result<VerifierKey, PolicyProblem> {
        let key: VerifierKey = text.parse().map_err(PolicyProblem::Key)?;
        if key.algorithm() != algorithm {
            return Err(PolicyProblem::KeyType { expected: algorithm.byte(), found: key.algorithm().byte() });
        }
        match self.keys.insert(*key.public_key().as_bytes(), self.number) {
            Some(line) => Err(PolicyProblem::DuplicateKey(line)),
            None => Ok(key),
        }
    }

    fn define(&mut self, name: &str, party: Party, depth: usize) -> Result<(), PolicyProblem> {
        if name == NONE {
            return Err(PolicyProblem::ReservedName);
        }
        let definition = Definition { party, line: self.number, depth, member_on: None };
        match self.names.insert(name.to_owned(), definition) {
            Some(earlier) => Err(PolicyProblem::DuplicateName { name: shown(name), line: earlier.line }),
            None => Ok(()),
        }
    }
}

fn parse_threshold(text: &str, members: usize) -> Result<usize, PolicyProblem> {
    let number = match text {
        "all" => Some(members),
        "any" => Some(1),
        number => parse_decimal(number).and_then(|number| usize::try_from(number).ok()),
    };
    let wrong = || PolicyProblem::Threshold { threshold: shown(text), members };
    number.filter(|number| (1..=members).contains(number)).ok_or_else(wrong)
}

/// What an error repeats of a field: its first characters, quoted.
fn shown(field: &str) -> String {
    let short: String = field.chars().take(40).collect();
    if short.len() < field.len() { format!("{short:?}…") } else { format!("{short:?}") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::key::PrivateKey;

    fn key(name: &str, algorithm: Algorithm, seed: u8) -> String {
        let public = PrivateKey::from_seed(&[seed; 32]).public();
        VerifierKey::new(name.parse().unwrap(), algorithm, public).to_string()
    }

    fn witness(n: u8) -> String {
        format!("witness W{n} {}\n", key("w", Algorithm::CosignatureV1, n))
    }

    fn parse(text: &str) -> Result<Policy, PolicyError> {
        Policy::parse(text.as_bytes())
    }

    #[test]
    fn spaces_tabs_comments_and_empty_lines_mean_nothing() {
        let log = key("log", Algorithm::Ed25519, 9);
        let plain = format!("log {log} https://log\n{}group g 1 W1\nquorum g\n", witness(1));
        let loose = format!(
            "# a comment\n\n \t\n\t#another\n  log \t {log}\thttps://log  \n{}\ngroup  g any\tW1\nquorum g",
            witness(1)
        );
        let policy = parse(&plain).unwrap();
        assert_eq!(parse(&loose), Ok(policy.clone()));
        assert_eq!(policy.logs()[0].url(), Some("https://log"));
        assert_eq!((policy.witnesses()[0].name(), policy.witnesses()[0].url()), ("W1", None));
    }

    #[test]
    fn every_error_names_its_line_the_thing_and_the_remedy() {
        let (w1, w2) = (witness(1), witness(2));
        let log_key = key("log", Algorithm::Ed25519, 1);
        let again = key("log", Algorithm::Ed25519, 2);
        let witness_key = key("w", Algorithm::CosignatureV1, 1);
        for (text, error) in [
            ("quorum none\nmirror x".into(), "policy line 2: \"mirror\" is not known"),
            ("quorum none\nlog".into(), "policy line 2: expected `log <verifier key> [url]`"),
            ("log a b c".into(), "policy line 1: expected `log"),
            ("witness a".into(), "policy line 1: expected `witness"),
            ("group a all".into(), "policy line 1: expected `group"),
            ("group a".into(), "policy line 1: expected `group"),
            ("quorum".into(), "policy line 1: expected `quorum"),
            ("quorum a b".into(), "policy line 1: expected `quorum"),
            ("log a+b".into(), "policy line 1: its verifier key cannot be used: not a verifier key"),
            (format!("log {witness_key}"), "policy line 1: the key is of type 0x04, expected 0x01"),
            (format!("witness w {log_key}"), "policy line 1: the key is of type 0x01, expected 0x04"),
            (format!("{w1}witness x {witness_key}"), "policy line 2: the same public key stands on line 1"),
            (format!("{w1}log {log_key}"), "policy line 2: the same public key stands on line 1"),
            (format!("log {log_key}\nlog {again}"), "policy line 2: the log \"log\" has another key on line 1"),
            (format!("{w1}group W1 1 W1"), "policy line 2: the name \"W1\" is defined on line 1"),
            (format!("{w1}group none 1 W1"), "policy line 2: the name none is reserved"),
            (format!("{w1}group g 1 none"), "policy line 2: \"none\" is no witness or group defined on a line before"),
            (format!("group g 1 W1\n{w1}"), "policy line 1: \"W1\" is no witness or group"),
            (format!("{w1}group g 1 g"), "policy line 2: \"g\" is no witness or group"),
            (format!("{w1}group g 1 W1 W1"), "policy line 2: \"W1\" is a member of a group on line 2"),
            (format!("{w1}group g 1 W1\ngroup h 1 W1"), "policy line 3: \"W1\" is a member of a group on line 2"),
            (format!("{w1}group g 0 W1"), "policy line 2: \"0\" of 1 members is no threshold"),
            (format!("{w1}{w2}group g 3 W1 W2"), "policy line 3: \"3\" of 2 members is no threshold"),
            (format!("{w1}group g 01 W1"), "policy line 2: \"01\" of 1 members is no threshold"),
            (format!("{w1}group g All W1"), "policy line 2: \"All\" of 1 members is no threshold"),
            ("quorum none\n\nquorum none".into(), "policy line 3: the quorum is already given on line 1"),
            (format!("quorum W1\n{w1}"), "policy line 1: \"W1\" is no witness or group"),
            (w1.clone(), "the policy has no quorum: end it with"),
            (String::new(), "the policy has no quorum"),
            ("quorum none\r\n".into(), "policy line 1: it holds the control character U+000D"),
            ("quorum\u{7f}none\n".into(), "policy line 1: it holds the control character U+007F"),
        ] {
            let found = parse(&text).unwrap_err().to_string();
            assert!(found.starts_with(error), "{text:?}: {found}");
        }
        assert_eq!(
            Policy::parse(b"quorum none\n#\xff"),
            Err(PolicyError::Line { line: 2, problem: PolicyProblem::Utf8 })
        );
    }

    #[test]
    fn policies_and_what_errors_repeat_of_them_are_bounded() {
        let large = format!("quorum none\n{}", "#".repeat(MAX_POLICY_BYTES - 12));
        assert!(parse(&large).is_ok());
        assert_eq!(parse(&format!("{large}#")), Err(PolicyError::TooLong(MAX_POLICY_BYTES + 1)));
        assert!(parse(&"x".repeat(MAX_POLICY_BYTES)).unwrap_err().to_string().len() < 200);

        let nested = |levels: usize| {
            let groups: Vec<_> = (1..levels).map(|n| format!("group g{n} all g{}\n", n - 1)).collect();
            format!("{}group g0 all W1\n{}quorum g{}", witness(1), groups.concat(), levels - 1)
        };
        assert!(parse(&nested(MAX_NESTING)).is_ok());
        let error = PolicyError::Line { line: MAX_NESTING + 2, problem: PolicyProblem::TooDeep };
        assert_eq!(parse(&nested(MAX_NESTING + 1)), Err(error));
    }

    proptest! {
        #[test]
        fn reading_any_bytes_never_panics(bytes: Vec<u8>) {
            let _ = Policy::parse(&bytes);
        }

        #[test]
        fn a_policy_that_is_read_has_one_quorum_and_names_defined_before_use(
            lines in prop::collection::vec("(group [ab] [0-2] (a|b|W1|W2)( (a|b|W1|W2))?|quorum (a|b|W1|none))", 0..5),
        ) {
            let text = format!("{}{}{}", witness(1), witness(2), lines.join("\n"));
            let quorums = lines.iter().filter(|line| line.starts_with("quorum")).count();
            let result = parse(&text);
            prop_assert!(result.is_err() || quorums == 1);
            for group in result.iter().flat_map(|policy| &policy.groups) {
                prop_assert!((1..=group.members.len()).contains(&group.threshold));
            }
            for (number, group) in result.iter().flat_map(|policy| policy.groups.iter().enumerate()) {
                let earlier = |party: &Party| !matches!(party, Party::Group(member) if *member >= number);
                prop_assert!(group.members.iter().all(earlier));
            }
        }
    }
}
