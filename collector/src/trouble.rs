//! A failure that lasts is logged when it begins, when it changes, and when it is over; not at every try.

/// What was logged last of something that is tried again and again.
#[derive(Debug, Default)]
pub struct Trouble(Option<String>);

impl Trouble {
    /// It failed. Says whether that is news.
    pub fn failed(&mut self, failure: &impl ToString) -> bool {
        let failure = Some(failure.to_string());
        let news = self.0 != failure;
        self.0 = failure;
        news
    }

    /// It went well. Says whether that is news.
    pub fn is_over(&mut self) -> bool {
        self.0.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_is_news() {
        let mut trouble = Trouble::default();
        assert!(!trouble.is_over(), "there was none");
        assert!(trouble.failed(&"refused"));
        assert!(!trouble.failed(&"refused"));
        assert!(trouble.failed(&"gone"), "it is another one");
        assert!(trouble.is_over());
        assert!(!trouble.is_over());
        assert!(trouble.failed(&"gone"), "it is there again");
    }
}
