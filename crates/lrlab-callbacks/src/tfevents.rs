//! TensorBoard's event files: `TFRecord` framing around `Event` messages, written by hand.
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

/// The first event of a file: its version, which readers look for.
pub(crate) fn write_version(out: &mut impl Write, wall_time: f64) -> io::Result<()> {
    let mut event = header(wall_time, 0);
    bytes_field(&mut event, 3, b"brain.Event:2");
    write_record(out, &event)
}

/// Tells readers to forget what earlier files say of `step` and later.
pub(crate) fn write_restart(out: &mut impl Write, wall_time: f64, step: u64) -> io::Result<()> {
    let mut event = header(wall_time, step);
    bytes_field(&mut event, 7, &[key(1, VARINT), 1]);
    write_record(out, &event)
}

/// Scalars of one step, as `(tag, value)`.
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

/// How many bytes at the begin of a file are whole records that `keep` says to keep, by their step and content.
pub(crate) fn kept(bytes: &[u8], keep: impl Fn(u64, &[u8]) -> bool) -> usize {
    let mut end = 0;
    while let Some((event, length)) = read_record(&bytes[end..])
        && step(event).is_some_and(|step| keep(step, event))
    {
        end += length;
    }
    end
}

/// The first record's content and its bytes in all; `None` where it is cut short or damaged.
fn read_record(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let size = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let (event, rest) = (masked(length).to_le_bytes() == *sum).then(|| rest.split_at_checked(size))??;
    let sum = rest.first_chunk::<4>()?;
    (masked(event).to_le_bytes() == *sum).then_some((event, 8 + 4 + size + 4))
}

/// The step of an event, which stands after its wall time in what [`header`] writes.
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

/// Whether an event has a scalar called `tag`.
pub(crate) fn has(event: &[u8], tag: &str) -> bool {
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

/// Seven bits a byte, the lowest first; the high bit says that more follow.
fn varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}
/// `TFRecord`'s masked checksum: CRC-32C rotated right by 15 bits plus a constant, so that a checksum of bytes that hold
/// checksums stays sound (`tensorflow/core/lib/hash/crc32c.h`).
fn masked(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}
