//! A member's name as it mostly stands in a text.

/// `"name":`, in quotes and with its colon. A short one is compared in one register, without a call.
#[derive(Debug)]
pub(super) struct Name {
    whole: Box<[u8]>,
    word: u128,
    /// The bits of `word` that count; none if the name is longer.
    mask: u128,
}

impl Name {
    const SHORT: usize = 16;

    pub(super) fn new(name: &str) -> Self {
        let mut whole = Vec::new();
        super::write::quoted(name.as_bytes(), &mut whole);
        whole.push(b':');
        let mut word = [0; Self::SHORT];
        let mut mask = 0;
        if let Some(room) = word.get_mut(..whole.len()) {
            room.copy_from_slice(&whole);
            mask = u128::MAX >> (8 * (Self::SHORT - whole.len()));
        }
        Self { whole: whole.into(), word: u128::from_le_bytes(word), mask }
    }

    /// Its length if the text begins with it.
    #[inline]
    pub(super) fn begins(&self, text: &[u8]) -> Option<usize> {
        let begins = match text.first_chunk::<{ Self::SHORT }>() {
            Some(chunk) if self.mask != 0 => u128::from_le_bytes(*chunk) & self.mask == self.word,
            _ => text.starts_with(&self.whole),
        };
        begins.then_some(self.whole.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Name;

    proptest! {
        #[test]
        fn a_text_begins_with_it_or_not(name in "[a-b\"é]{0,20}", other in "[a-b]{0,20}", rest in ".{0,20}") {
            let whole = format!("{}:", serde_json::to_string(&name).unwrap());
            let text = format!("{whole}{rest}");
            let name = Name::new(&name);
            prop_assert_eq!(name.begins(text.as_bytes()), Some(whole.len()));
            for text in [format!("\"{other}\":{rest}"), whole[..whole.len() - 1].to_owned()] {
                prop_assert_eq!(name.begins(text.as_bytes()).is_some(), text.starts_with(&whole));
            }
        }
    }
}
