//! Text from outside, made fit for a terminal.
//!
//! Names of pods, answers of servers and lines of files may hold control characters, which move cursors and hide what
//! was printed before. Whatever is shown in a message or table goes through here; only `logs` prints raw bytes, because
//! that is its promise.

use std::path::Path;

use indelible_chain::genesis::Genesis;

/// Longest piece of foreign text that a message repeats.
const MAX_SHOWN: usize = 400;

/// The text on one line: control characters are escaped, and what is too long is cut.
pub fn one_line(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if out.len() > MAX_SHOWN {
            out.push('…');
            break;
        }
        if is_harmless(c) { out.push(c) } else { out.extend(c.escape_default()) }
    }
    out
}

/// The text with its line breaks; every other control character is escaped.
pub fn lines(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c == '\n' || is_harmless(c) { out.push(c) } else { out.extend(c.escape_default()) }
    }
    out
}

/// "shop/cart-0/app": the container of a chain.
pub fn container(genesis: &Genesis) -> String {
    let Genesis { namespace, pod_name, container, .. } = genesis;
    one_line(&format!("{namespace}/{pod_name}/{container}"))
}

/// A path as a shell takes it for one word.
pub fn shell(path: &Path) -> String {
    let text = lines(&path.display().to_string());
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Neither a control character nor one that changes the direction of writing.
fn is_harmless(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_never_reach_the_terminal() {
        assert_eq!(one_line("a\u{1b}[2Jb\nc\u{202e}d é"), "a\\u{1b}[2Jb\\nc\\u{202e}d é");
        assert_eq!(lines("a\nb\r\u{7}"), "a\nb\\r\\u{7}");
        assert_eq!(one_line(&"x".repeat(5000)).chars().count(), MAX_SHOWN + 2);
    }

    #[test]
    fn a_path_can_be_pasted_into_a_shell() {
        for (path, pasted) in [("/tmp/a-b_1.c", "/tmp/a-b_1.c"), ("a b", "'a b'"), ("it's", r"'it'\''s'"), ("", "''")] {
            assert_eq!(shell(Path::new(path)), pasted);
        }
    }
}
