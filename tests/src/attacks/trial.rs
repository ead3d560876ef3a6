//! One run of an attack or of its twin, and whether it went as its row says.

use super::sentence::{Names, Sentence};
use super::{AXES, Attack, Shows};
use crate::world::Answer;

/// Which of the two stories is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The attack.
    Attack,
    /// The same without it: legitimate, and nothing may be raised.
    Twin,
}

impl Side {
    /// Whether it is the attack.
    pub fn is_attack(self) -> bool {
        self == Self::Attack
    }

    /// In words.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Attack => "attack",
            Self::Twin => "twin",
        }
    }
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Trial {
    /// The verifier's answer.
    pub answer: Answer,
    /// What was refused or logged: code and words.
    pub said: Vec<(i32, String)>,
    /// What the sentence's names stand for.
    pub names: Names,
}

impl Trial {
    /// A trial that the verifier alone answers.
    pub fn judged(answer: Answer, names: Names) -> Self {
        Self { answer, said: Vec::new(), names }
    }

    /// What of it is not as the row says, one thing a line, and the sentence that was read.
    pub fn check(&self, attack: &Attack, side: Side) -> (Vec<String>, String) {
        let mut wrong = Vec::new();
        let Answer { verdicts, findings, exit, code, .. } = &self.answer;
        if side == Side::Twin {
            if (*exit, *code) != (0, 0) || !findings.is_empty() {
                wrong.push(format!("the legitimate twin is accused (exit {code}):\n{}", self.answer.texts()));
            }
            let refused = self.said.iter().filter(|(code, _)| *code != 0);
            wrong.extend(refused.map(|(code, text)| format!("the twin was refused: {code} {text}")));
            return (wrong, String::new());
        }
        if (*exit, *code) != (attack.exit, attack.exit) {
            wrong.push(format!("exit {code} (the report says {exit}), expected {}", attack.exit));
        }
        for (axis, verdict) in AXES.iter().zip(attack.verdicts) {
            let got = verdicts.get(*axis).map_or("nothing", String::as_str);
            if got != verdict.word() {
                wrong.push(format!("{axis} {got}, expected {}", verdict.word()));
            }
        }
        let read = self.read(attack, &mut wrong);
        if !wrong.is_empty() {
            wrong.push(format!("the findings:\n{}", self.answer.texts()));
        }
        (wrong, read)
    }

    /// The text that is the row's sentence.
    fn read(&self, attack: &Attack, wrong: &mut Vec<String>) -> String {
        let texts: Vec<&str> = match attack.shows {
            Shows::Finding(class, others) => {
                for class in self.answer.classes().into_iter().filter(|it| *it != class && !others.contains(it)) {
                    wrong.push(format!("{class} is found, too"));
                }
                self.answer.findings.iter().filter(|f| f.class == class).map(|f| f.text.as_str()).collect()
            }
            Shows::Refusal(status) => self.said_with(status.into(), wrong),
            Shows::Exit(code) => self.said_with(code, wrong),
            Shows::Report => self.said_with(0, wrong),
        };
        if !matches!(attack.shows, Shows::Finding(..)) && !self.answer.findings.is_empty() {
            wrong.push("something is found in evidence that should not have been touched".to_owned());
        }
        match Sentence::new(attack.sentence, &self.names) {
            Ok(sentence) => match texts.iter().find(|text| sentence.is(text)) {
                Some(text) => return (*text).to_owned(),
                None => wrong.push(format!("no one reads: {sentence:?}\nbut: {texts:#?}")),
            },
            Err(error) => wrong.push(error.to_string()),
        }
        String::new()
    }

    /// Everything that was said with this code; another code is wrong.
    fn said_with(&self, code: i32, wrong: &mut Vec<String>) -> Vec<&str> {
        for (other, text) in self.said.iter().filter(|(other, _)| *other != code) {
            wrong.push(format!("{other} where {code} was due: {text}"));
        }
        self.said.iter().filter(|(this, _)| *this == code).map(|(_, text)| text.as_str()).collect()
    }
}
