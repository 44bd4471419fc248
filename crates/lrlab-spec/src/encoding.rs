//! Decodes the bytes of a file, or detects another encoding.

use crate::mistake::{Log, Mistakes};
use crate::tree::Place;

/// Decodes a file in UTF-8, with or without a byte-order mark, which is not part of the text.
///
/// # Errors
/// Returns an error that names the other encoding, if it can be detected, and the first affected line.
pub fn decode(bytes: &[u8], file_name: &str) -> Result<String, Mistakes> {
    if let Some(wide) = Wide::of(bytes) {
        let text = wide.text(bytes);
        let mut log = Log::new(file_name, &text);
        let end = text.find('\n').unwrap_or(text.len());
        log.error(
            Place::in_file(0, end),
            format!("the file is {}, expected UTF-8", wide.name),
            advice(wide.name, file_name),
        );
        return Err(log.finish());
    }
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    std::str::from_utf8(bytes)
        .map(str::to_owned)
        .map_err(|error| narrow(bytes, error.valid_up_to(), file_name))
}

fn advice(encoding: &str, file_name: &str) -> String {
    format!("save it as UTF-8 in the editor, or by: iconv -f {encoding} -t UTF-8 {file_name} > utf8.toml")
}

/// The errors of a single-byte encoding or damaged UTF-8; `first` is the first invalid byte.
fn narrow(bytes: &[u8], first: usize, file_name: &str) -> Mistakes {
    // Decodes as Latin-1, which has a character for every byte, to show the line.
    let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
    let at = text.char_indices().nth(first).map_or(text.len(), |(at, _)| at);
    let shown = text[at..].chars().next().unwrap_or_default();
    let others = bytes[first..].split(|&byte| byte == b'\n').skip(1);
    let others = others.filter(|line| std::str::from_utf8(line).is_err()).count();
    let more = match others {
        0 => String::new(),
        1 => ", also in 1 more line".to_owned(),
        n => format!(", also in {n} more lines"),
    };
    let byte = bytes.get(first).copied().unwrap_or_default();
    let mut log = Log::new(file_name, &text);
    let place = Place::in_file(at, at + shown.len_utf8());
    if bytes[..first].is_ascii() && shown.is_alphanumeric() {
        let message = format!(
            "byte 0x{byte:02X} is not UTF-8{more}: the file seems to be Latin-1 or Windows-1252, where it is `{shown}`"
        );
        log.error(place, message, advice("WINDOWS-1252", file_name));
    } else {
        let message =
            format!("byte 0x{byte:02X} is not UTF-8{more}: the file has another encoding, or is damaged");
        log.error(place, message, "save it as UTF-8 in the editor".to_owned());
    }
    log.finish()
}

/// An encoding with two or four bytes per code unit.
struct Wide {
    name: &'static str,
    size: usize,
    little: bool,
}

const WIDE: [Wide; 4] = [
    Wide { name: "UTF-32LE", size: 4, little: true },
    Wide { name: "UTF-32BE", size: 4, little: false },
    Wide { name: "UTF-16LE", size: 2, little: true },
    Wide { name: "UTF-16BE", size: 2, little: false },
];

impl Wide {
    /// Detects the encoding by its byte-order mark, or by zero bytes in the positions where ASCII text has them.
    fn of(bytes: &[u8]) -> Option<&'static Self> {
        let marked = |wide: &&Self| bytes.get(..wide.size).is_some_and(|unit| wide.unit(unit) == 0xFEFF);
        let begins_so = |wide: &&Self| {
            let mut units = bytes.chunks_exact(wide.size).take(16).peekable();
            units.peek().is_some() && units.all(|unit| (1..0x80).contains(&wide.unit(unit)))
        };
        WIDE.iter().find(marked).or_else(|| WIDE.iter().find(begins_so))
    }

    fn unit(&self, bytes: &[u8]) -> u32 {
        let append = |unit: u32, byte: &u8| unit << 8 | u32::from(*byte);
        if self.little { bytes.iter().rev().fold(0, append) } else { bytes.iter().fold(0, append) }
    }

    fn text(&self, bytes: &[u8]) -> String {
        let units = bytes.chunks(self.size).map(|unit| self.unit(unit)).filter(|&unit| unit != 0xFEFF);
        if self.size == 4 {
            return units.map(|unit| char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
        }
        let units = units.map(|unit| unit as u16);
        char::decode_utf16(units).map(|found| found.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expected: &str) {
        let found =
            decode(bytes, "x.toml").unwrap_or_else(|mistakes| mistakes.iter().next().unwrap().to_string());
        assert_eq!(found, expected);
    }

    fn wide(text: &str, mark: bool, size: usize, little: bool) -> Vec<u8> {
        let units: Vec<u32> = match size {
            2 => text.encode_utf16().map(u32::from).collect(),
            _ => text.chars().map(u32::from).collect(),
        };
        let mark = mark.then_some(0xFEFF_u32);
        let bytes = |unit: u32| {
            let bytes = unit.to_le_bytes()[..size].to_vec();
            if little { bytes } else { bytes.into_iter().rev().collect() }
        };
        mark.into_iter().chain(units).flat_map(bytes).collect()
    }

    #[test]
    fn other_encodings_are_named() {
        let text = "name = \"größe\"\nlr = 1\n";
        check(text.as_bytes(), text);
        check(b"\xEF\xBB\xBFname", "name");
        check(b"\xEF\xBB\xBF", "");
        check(b"", "");
        check(b"a", "a");
        for (size, little, name) in
            [(2, true, "UTF-16LE"), (2, false, "UTF-16BE"), (4, true, "UTF-32LE"), (4, false, "UTF-32BE")]
        {
            for mark in [true, false] {
                let text = if mark { text } else { "description = \"größe\"\n" };
                let expected = format!(
                    "x.toml:1:1: the file is {name}, expected UTF-8; save it as UTF-8 in the editor, or by: iconv -f \
                     {name} -t UTF-8 x.toml > utf8.toml"
                );
                check(&wide(text, mark, size, little), &expected);
            }
        }
        check(
            b"name = \"x\"\ndescription = \"caf\xE9\"\n# \xFCber\n",
            "x.toml:2:19: byte 0xE9 is not UTF-8, also in 1 more line: the file seems to be Latin-1 or \
             Windows-1252, where it is `é`; save it as UTF-8 in the editor, or by: iconv -f WINDOWS-1252 -t UTF-8 \
             x.toml > utf8.toml",
        );
        check(
            b"\xEF\xBB\xBFx = \"\xC3\"",
            "x.toml:1:6: byte 0xC3 is not UTF-8: the file seems to be Latin-1 or Windows-1252, where it is `Ã`; save it as UTF-8 in \
             the editor, or by: iconv -f WINDOWS-1252 -t UTF-8 x.toml > utf8.toml",
        );
        check(
            b"# caf\xC3\xA9\nx = \"\xC3\"\n",
            "x.toml:2:6: byte 0xC3 is not UTF-8: the file has another encoding, or is damaged; save it as UTF-8 in the editor",
        );
    }
}
