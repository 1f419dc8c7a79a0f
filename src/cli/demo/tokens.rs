//! Cuts text into pieces of the size in which models stream it.

/// The longest word that is one token; longer ones come in parts, as with a real vocabulary.
const WORD_CHARS: usize = 9;

/// Cuts `text` into tokens which, put together, are `text` again.
///
/// A token is a word or a sign with the space before it; a character of a script without spaces stands alone.
pub(crate) fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut token = String::new();
    for next in text.chars() {
        if !token.is_empty() && !joins(&token, next) {
            tokens.push(std::mem::take(&mut token));
        }
        token.push(next);
    }
    if !token.is_empty() {
        tokens.push(token);
    }
    tokens
}

/// Whether `next` belongs to the token that `token` begins.
fn joins(token: &str, next: char) -> bool {
    match token.chars().next_back() {
        Some(' ') => !next.is_whitespace() || next == ' ',
        Some(last) => of_a_word(last) && of_a_word(next) && token.trim_start().len() < WORD_CHARS,
        None => true,
    }
}

/// Whether `character` is a letter of a script with spaces between its words, or a digit.
fn of_a_word(character: char) -> bool {
    character.is_alphanumeric() && character < '\u{2e80}'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_carry_the_space_before_them() {
        assert_eq!(tokens("Okay, let me see."), ["Okay", ",", " let", " me", " see", "."]);
    }

    #[test]
    fn long_words_come_in_parts() {
        assert_eq!(tokens("AKIAIOSFODNN7EXAMPLE"), ["AKIAIOSFO", "DNN7EXAMP", "LE"]);
    }

    #[test]
    fn chinese_comes_by_the_character() {
        assert_eq!(tokens("你好,\n好"), ["你", "好", ",", "\n", "好"]);
    }

    #[test]
    fn nothing_is_lost() {
        let text = "  def f(x):\n      return x + 1  \n\n抱歉 — ok";
        assert_eq!(tokens(text).concat(), text);
    }
}
