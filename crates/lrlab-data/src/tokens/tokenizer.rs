//! Trains tokenizers on the training split and applies them.
//!
//! All kinds share normalization and pre-tokenization: `<br />` becomes a space, letters become lower case, a word is a run
//! of letters, digits and underscores, and runs of punctuation are separate. [`PAD`] is 0, [`UNKNOWN`] is 1.

use std::collections::BTreeSet;

use rayon::prelude::*;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::models::wordlevel::{WordLevel, WordLevelTrainer};
use tokenizers::models::wordpiece::{WordPiece, WordPieceTrainer};
use tokenizers::models::{ModelWrapper, TrainerWrapper};
use tokenizers::normalizers::{Lowercase, NormalizerWrapper, Replace, Sequence};
use tokenizers::pre_tokenizers::whitespace::Whitespace;
use tokenizers::{
    AddedToken, NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString,
    PreTokenizer, Tokenizer,
};

use crate::collector::Spool;
use crate::{Error, Keep, TokenConfig, TokenizerKind};

/// The version of the tokenization; increment it when the same texts give different tokens.
pub(crate) const VERSION: u32 = 1;
/// The id of padding.
pub(crate) const PAD: u32 = 0;
/// The id of tokens outside the vocabulary.
pub(crate) const UNKNOWN: u32 = 1;
const SPECIALS: [&str; 2] = ["[PAD]", "[UNK]"];
/// The prefix of a `WordPiece` entry that continues a word.
const CONTINUES: &str = "##";

/// Trains a tokenizer of the configured kind on `rows` of `texts`, which are read one by one.
pub(crate) fn train(config: &TokenConfig, texts: &Spool, rows: &[u32]) -> Result<Tokenizer, Error> {
    let failed = |source| Error::Tokenizer { source };
    let (model, mut trainer) = parts(config).map_err(failed)?;
    let mut tokenizer = Tokenizer::new(model);
    let breaks = Replace::new("<br />", " ").map_err(failed)?;
    let steps: Vec<NormalizerWrapper> = vec![breaks.into(), Lowercase.into()];
    tokenizer.with_normalizer(Some(Sequence::new(steps))).map_err(failed)?;
    tokenizer.with_pre_tokenizer(Some(Whitespace));
    if let TrainerWrapper::WordPieceTrainer(trainer) = &mut trainer {
        let inner = continuations(&tokenizer, texts, rows)?.into_iter();
        let tokens = inner.map(|letter| AddedToken::from(format!("{CONTINUES}{letter}"), true));
        trainer.set_special_tokens(specials().into_iter().chain(tokens).collect());
    }
    let mut unreadable = None;
    let texts = rows.iter().map_while(|&row| match texts.text(row) {
        Ok(text) => Some(text),
        Err(error) => {
            unreadable = Some(error);
            None
        }
    });
    tokenizer.train(&mut trainer, texts).map_err(failed)?;
    if let Some(error) = unreadable {
        return Err(error);
    }
    let tokenizer = match trainer {
        TrainerWrapper::WordPieceTrainer(_) => without_added_letters(&tokenizer).map_err(failed)?,
        _ => tokenizer,
    };
    // The vocabulary of word pieces contains every letter.
    let size = tokenizer.get_vocab_size(true);
    if size > config.vocabulary {
        let message = format!(
            "tokens.vocabulary is {}, expected at least {size}: the letters of the training texts and the special tokens are \
             {size} entries",
            config.vocabulary
        );
        return Err(failed(message.into()));
    }
    Ok(tokenizer)
}

/// Returns the letters that occur within words. The trainer numbers them in the order of a hash map, which differs between
/// runs, and breaks ties by these numbers. Adding the letters in advance, in order, makes the numbers deterministic.
fn continuations(tokenizer: &Tokenizer, texts: &Spool, rows: &[u32]) -> Result<BTreeSet<char>, Error> {
    let letters = |text: &str| -> tokenizers::Result<BTreeSet<char>> {
        let mut normalized = NormalizedString::from(text);
        if let Some(normalizer) = tokenizer.get_normalizer() {
            normalizer.normalize(&mut normalized)?;
        }
        let mut words = PreTokenizedString::from(normalized);
        if let Some(pre_tokenizer) = tokenizer.get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut words)?;
        }
        let words = words.get_splits(OffsetReferential::Normalized, OffsetType::None);
        Ok(words.into_iter().flat_map(|(word, ..)| word.chars().skip(1)).collect())
    };
    let letters = |&row: &u32| letters(&texts.text(row)?).map_err(|source| Error::Tokenizer { source });
    rows.par_iter().map(letters).try_reduce(BTreeSet::new, |mut all, mut some| {
        all.append(&mut some);
        Ok(all)
    })
}

/// Returns the tokenizer with the letters of [`continuations`] as ordinary entries of the vocabulary instead of added
/// tokens.
fn without_added_letters(trained: &Tokenizer) -> tokenizers::Result<Tokenizer> {
    let mut json: serde_json::Value = serde_json::from_str(&trained.to_string(false)?)?;
    if let Some(added) = json["added_tokens"].as_array_mut() {
        added.retain(|token| SPECIALS.iter().any(|special| token["content"] == *special));
    }
    json.to_string().parse()
}

fn specials() -> Vec<AddedToken> {
    SPECIALS.map(|special| AddedToken::from(special, true)).into()
}

fn parts(config: &TokenConfig) -> tokenizers::Result<(ModelWrapper, TrainerWrapper)> {
    let specials = specials();
    let unknown = SPECIALS[UNKNOWN as usize].to_owned();
    Ok(match config.tokenizer {
        TokenizerKind::Word => {
            let trainer = WordLevelTrainer::builder()
                .vocab_size(config.vocabulary)
                .special_tokens(specials)
                .show_progress(false)
                .build()?;
            (WordLevel::builder().unk_token(unknown).build()?.into(), trainer.into())
        }
        TokenizerKind::Bpe => {
            let trainer = BpeTrainer::builder()
                .vocab_size(config.vocabulary)
                .special_tokens(specials)
                .show_progress(false)
                .build();
            (BPE::builder().unk_token(unknown).build()?.into(), trainer.into())
        }
        TokenizerKind::WordPiece => {
            let trainer = WordPieceTrainer::builder()
                .vocab_size(config.vocabulary)
                .special_tokens(specials)
                .show_progress(false)
                .build();
            (WordPiece::builder().unk_token(unknown).build()?.into(), trainer.into())
        }
    })
}

/// Applies a tokenizer.
pub(crate) struct Encoder<'a> {
    tokenizer: Tokenizer,
    config: &'a TokenConfig,
}

impl<'a> Encoder<'a> {
    pub(crate) fn new(tokenizer: &Tokenizer, config: &'a TokenConfig) -> Self {
        let mut tokenizer = tokenizer.clone();
        tokenizer.set_encode_special_tokens(true); // treats "[PAD]" in a text as text
        Self { tokenizer, config }
    }

    /// Tokenizes a text, at most `max_length` tokens. A text without tokens becomes one unknown token, so that no sequence is
    /// empty.
    pub(crate) fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        let encoding =
            self.tokenizer.encode_fast(text, false).map_err(|source| Error::Tokenizer { source })?;
        Ok(cut(encoding.get_ids(), self.config))
    }
}

/// Truncates a sequence to the maximum length at the configured end.
pub(crate) fn cut(ids: &[u32], config: &TokenConfig) -> Vec<u32> {
    let surplus = ids.len().saturating_sub(config.max_length);
    match config.keep {
        _ if ids.is_empty() => vec![UNKNOWN],
        Keep::Start => ids[..ids.len() - surplus].to_vec(),
        Keep::End => ids[surplus..].to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collector::Collector;

    const TEXTS: [&str; 4] = [
        "A good film.<br /><br />Really GOOD!",
        "not good, not good at all",
        "the film's ending (bad)",
        "[PAD] is text here, and so is [UNK]",
    ];

    fn config(tokenizer: TokenizerKind) -> TokenConfig {
        TokenConfig { tokenizer, vocabulary: 60, max_length: 50, keep: Keep::End }
    }

    fn attempt(config: &TokenConfig) -> Result<Tokenizer, Error> {
        let mut collector = Collector::new(std::path::Path::new(""), u64::MAX);
        for text in TEXTS {
            collector.add(text.as_bytes(), text.len()).unwrap();
        }
        train(config, &Spool::new(collector.finish().unwrap()), &[0, 1, 2, 3])
    }

    fn trained(config: &TokenConfig) -> Tokenizer {
        attempt(config).unwrap()
    }

    fn words(tokenizer: &Tokenizer, config: &TokenConfig, text: &str) -> Vec<String> {
        let ids = Encoder::new(tokenizer, config).encode(text).unwrap();
        ids.iter().map(|&id| tokenizer.id_to_token(id).unwrap()).collect()
    }

    #[test]
    fn words_and_punctuation_in_lower_case() {
        let config = config(TokenizerKind::Word);
        let tokenizer = trained(&config);
        assert_eq!(tokenizer.token_to_id("[PAD]"), Some(PAD));
        assert_eq!(tokenizer.token_to_id("[UNK]"), Some(UNKNOWN));
        assert_eq!(tokenizer.token_to_id("good"), Some(2), "the most frequent word comes first");
        let check =
            |text, expected: &[&str]| assert_eq!(words(&tokenizer, &config, text), expected, "{text}");
        check("Good<br />FILM.", &["good", "film", "."]);
        check("a splendid film", &["a", "[UNK]", "film"]);
        check("   ", &["[UNK]"]);
        let specials = Encoder::new(&tokenizer, &config).encode("[PAD] film").unwrap();
        assert!(!specials.contains(&PAD), "padding occurs in a text: {specials:?}");
    }

    #[test]
    fn either_end_can_be_kept() {
        let mut config = config(TokenizerKind::Word);
        let tokenizer = trained(&config);
        config.max_length = 3;
        assert_eq!(words(&tokenizer, &config, "not good at all"), ["good", "at", "all"]);
        config.keep = Keep::Start;
        assert_eq!(words(&tokenizer, &config, "not good at all"), ["not", "good", "at"]);
        assert_eq!(words(&tokenizer, &config, "not good"), ["not", "good"]);
    }

    #[test]
    fn every_kind_trains_to_the_same_tokenizer_twice() {
        for kind in [TokenizerKind::Word, TokenizerKind::Bpe, TokenizerKind::WordPiece] {
            let config = config(kind);
            let tokenizer = trained(&config);
            let again = trained(&config);
            assert_eq!(tokenizer.to_string(false).unwrap(), again.to_string(false).unwrap(), "{kind:?}");
            assert!(tokenizer.get_vocab_size(true) <= config.vocabulary, "{kind:?}");
            assert_eq!(tokenizer.token_to_id("[PAD]"), Some(PAD), "{kind:?}");
            // The stored tokenizer gives the same tokens.
            let stored = Tokenizer::from_bytes(tokenizer.to_string(true).unwrap()).unwrap();
            let texts = ["a good ending", "goodness [PAD] ☃"];
            for text in texts {
                let ids = Encoder::new(&tokenizer, &config).encode(text).unwrap();
                assert_eq!(Encoder::new(&stored, &config).encode(text).unwrap(), ids, "{kind:?}");
                assert!(ids.iter().all(|&id| id != PAD && (id as usize) < config.vocabulary), "{kind:?}");
            }
        }
    }

    /// A vocabulary has at most the given size, or training fails with the least size that is possible.
    #[test]
    fn a_vocabulary_smaller_than_the_letters_is_an_error() {
        for kind in [TokenizerKind::Word, TokenizerKind::Bpe, TokenizerKind::WordPiece] {
            for vocabulary in [3, 10, 25, 40] {
                let small = TokenConfig { vocabulary, ..config(kind) };
                match attempt(&small) {
                    Ok(tokenizer) => assert!(tokenizer.get_vocab_size(true) <= vocabulary, "{kind:?}"),
                    Err(error) => {
                        let error = error.to_string();
                        let start =
                            format!("tokenizer: tokens.vocabulary is {vocabulary}, expected at least ");
                        assert!(
                            kind != TokenizerKind::Word && error.starts_with(&start),
                            "{kind:?}: {error}"
                        );
                        let least = error[start.len()..].split(':').next().unwrap().parse().unwrap();
                        let enough = TokenConfig { vocabulary: least, ..small };
                        assert_eq!(attempt(&enough).unwrap().get_vocab_size(true), least, "{kind:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn subwords_represent_unknown_words() {
        let word = config(TokenizerKind::Word);
        let tokenizer = trained(&word);
        assert_eq!(words(&tokenizer, &word, "goodall"), ["[UNK]"]);
        for kind in [TokenizerKind::Bpe, TokenizerKind::WordPiece] {
            let config = config(kind);
            let tokenizer = trained(&config);
            let parts = words(&tokenizer, &config, "goodall").concat().replace("##", "");
            assert_eq!(parts, "goodall", "{kind:?}");
        }
    }
}
