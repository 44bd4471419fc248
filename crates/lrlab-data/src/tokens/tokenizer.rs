//! Training tokenizers on the training split, and applying them.
//!
//! Every kind reads the same words: line breaks written as `<br />` are spaces, letters are lower case, a word
//! is a run of letters, digits and underscores, and punctuation stands alone. [`PAD`] is 0, [`UNKNOWN`] is 1.

use rayon::prelude::*;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::models::wordlevel::{WordLevel, WordLevelTrainer};
use tokenizers::models::wordpiece::{WordPiece, WordPieceTrainer};
use tokenizers::models::{ModelWrapper, TrainerWrapper};
use tokenizers::normalizers::{Lowercase, NormalizerWrapper, Replace, Sequence};
use tokenizers::pre_tokenizers::whitespace::Whitespace;
use tokenizers::{AddedToken, Tokenizer};

use super::Sequences;
use crate::{Error, Keep, TokenConfig, TokenizerKind};

/// Raised whenever the same texts give other tokens.
pub(crate) const VERSION: u32 = 1;
/// Id of padding.
pub(crate) const PAD: u32 = 0;
/// Id of what the vocabulary does not hold.
pub(crate) const UNKNOWN: u32 = 1;
const SPECIALS: [&str; 2] = ["[PAD]", "[UNK]"];

/// A tokenizer of `kind` trained on `texts`.
pub(crate) fn train(config: &TokenConfig, texts: &[&str]) -> Result<Tokenizer, Error> {
    let wrong = |source| Error::Tokenizer { source };
    let (model, mut trainer) = parts(config).map_err(wrong)?;
    let mut tokenizer = Tokenizer::new(model);
    let breaks = Replace::new("<br />", " ").map_err(wrong)?;
    let steps: Vec<NormalizerWrapper> = vec![breaks.into(), Lowercase.into()];
    tokenizer.with_normalizer(Some(Sequence::new(steps))).map_err(wrong)?;
    tokenizer.with_pre_tokenizer(Some(Whitespace));
    tokenizer.train(&mut trainer, texts.iter()).map_err(wrong)?;
    Ok(tokenizer)
}

fn parts(config: &TokenConfig) -> tokenizers::Result<(ModelWrapper, TrainerWrapper)> {
    let specials: Vec<AddedToken> = SPECIALS.map(|s| AddedToken::from(s, true)).into();
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

/// The sequences of `texts`, at most `max_length` tokens each. A text without any token becomes one unknown
/// token, so that no sequence is empty.
pub(crate) fn encode(
    tokenizer: &Tokenizer,
    config: &TokenConfig,
    texts: &[&str],
) -> Result<Sequences, Error> {
    let mut tokenizer = tokenizer.clone();
    tokenizer.set_encode_special_tokens(true); // "[PAD]" within a text is text
    let encoded: Vec<Vec<u32>> = texts
        .par_iter()
        .map(|text| {
            let encoding =
                tokenizer.encode_fast(*text, false).map_err(|source| Error::Tokenizer { source })?;
            Ok(cut(encoding.get_ids(), config))
        })
        .collect::<Result<_, Error>>()?;
    let mut sequences = Sequences::default();
    for ids in &encoded {
        sequences.push(ids);
    }
    Ok(sequences)
}

fn cut(ids: &[u32], config: &TokenConfig) -> Vec<u32> {
    let surplus = ids.len().saturating_sub(config.max_length);
    match config.keep {
        _ if ids.is_empty() => vec![UNKNOWN],
        Keep::Start => ids[..ids.len() - surplus].to_vec(),
        Keep::End => ids[surplus..].to_vec(),
    }
}
