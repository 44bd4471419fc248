//! Event files of TensorBoard: `TFRecord` framing around `Event` messages.
//!
//! A record is its length (`u64`, little endian), the masked CRC-32C of these 8 bytes, the bytes, and their
//! masked CRC-32C (`tensorflow/core/lib/io/record_writer.h`). The bytes are an `Event` in protocol buffers' wire
//! format (`tensorflow/core/util/event.proto`, `tensorflow/core/framework/summary.proto`); of its fields only these
//! are written:
//!
//! ```text
//! Event      { double wall_time = 1; int64 step = 2;
//!              oneof { string file_version = 3; Summary summary = 5; SessionLog session_log = 7 } }
//! Summary    { repeated Value value = 1 }       Value { string tag = 1; float simple_value = 2 }
//! SessionLog { enum status = 1 }                START = 1
//! ```

use std::io::{self, Write};

/// Writes the first event of a file: the version, which readers require.
pub(crate) fn write_version(out: &mut impl Write, wall_time: f64) -> io::Result<()> {
    let mut event = header(wall_time, 0);
    bytes_field(&mut event, 3, b"brain.Event:2");
    write_record(out, &event)
}

/// Writes an event that tells readers to ignore `step` and later steps of earlier files.
pub(crate) fn write_restart(out: &mut impl Write, wall_time: f64, step: u64) -> io::Result<()> {
    let mut event = header(wall_time, step);
    bytes_field(&mut event, 7, &[key(1, VARINT), 1]);
    write_record(out, &event)
}

/// Writes the scalars of a step, as `(tag, value)`.
pub(crate) fn write_scalars(
    out: &mut impl Write,
    wall_time: f64,
    step: u64,
    scalars: &[(&str, f64)],
) -> io::Result<()> {
    let mut summary = Vec::new();
    for (tag, value) in scalars {
        let mut message = Vec::new();
        bytes_field(&mut message, 1, tag.as_bytes());
        message.push(key(2, FIXED32));
        message.extend((*value as f32).to_le_bytes());
        bytes_field(&mut summary, 1, &message);
    }
    let mut event = header(wall_time, step);
    bytes_field(&mut event, 5, &summary);
    write_record(out, &event)
}

/// Returns the length in bytes of the leading complete records for which `keep` returns `true`, given their step and content.
pub(crate) fn kept_length(bytes: &[u8], keep: impl Fn(u64, &[u8]) -> bool) -> usize {
    let mut end = 0;
    while let Some((event, length)) = read_record(&bytes[end..])
        && step(event).is_some_and(|step| keep(step, event))
    {
        end += length;
    }
    end
}

/// Returns the content and the total length of the first record; `None` if it is truncated or damaged.
fn read_record(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let size = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let (event, rest) = (masked(length).to_le_bytes() == *sum).then(|| rest.split_at_checked(size))??;
    let sum = rest.first_chunk::<4>()?;
    (masked(event).to_le_bytes() == *sum).then_some((event, 8 + 4 + size + 4))
}

/// Returns the step of an event, which follows its wall time as written by [`header`].
fn step(event: &[u8]) -> Option<u64> {
    let mut rest = event.get(10..)?.iter();
    let mut step = 0;
    for shift in (0..64).step_by(7) {
        let byte = *rest.next()?;
        step |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(step);
        }
    }
    None
}

/// Returns whether an event has a scalar with this tag.
pub(crate) fn has_tag(event: &[u8], tag: &str) -> bool {
    let mut field = Vec::new();
    bytes_field(&mut field, 1, tag.as_bytes());
    event.windows(field.len()).any(|window| window == field)
}

fn write_record(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let length = (bytes.len() as u64).to_le_bytes();
    out.write_all(&length)?;
    out.write_all(&masked(&length).to_le_bytes())?;
    out.write_all(bytes)?;
    out.write_all(&masked(bytes).to_le_bytes())
}

/// Wire types.
const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const BYTES: u8 = 2;
const FIXED32: u8 = 5;

const fn key(field: u8, wire_type: u8) -> u8 {
    field << 3 | wire_type
}

fn header(wall_time: f64, step: u64) -> Vec<u8> {
    let mut event = vec![key(1, FIXED64)];
    event.extend(wall_time.to_le_bytes());
    event.push(key(2, VARINT));
    varint(&mut event, step);
    event
}

fn bytes_field(message: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    message.push(key(field, BYTES));
    varint(message, bytes.len() as u64);
    message.extend(bytes);
}

/// Appends a varint: seven bits per byte, the lowest first; the high bit marks that more follow.
fn varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}
/// Returns the masked checksum of `TFRecord`: CRC-32C rotated right by 15 bits plus a constant, so that the checksum of data
/// that contains checksums stays reliable (`tensorflow/core/lib/hash/crc32c.h`).
fn masked(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}
