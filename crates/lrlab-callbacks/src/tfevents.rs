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
//!
//! The HParams plugin reads its messages from the metadata of a value without a number
//! (`tensorboard/plugins/hparams/plugin_data.proto` and `api.proto`):
//!
//! ```text
//! Value             { string tag = 1; SummaryMetadata metadata = 9 }
//! SummaryMetadata   { PluginData plugin_data = 1 }   PluginData { string plugin_name = 1; bytes content = 2 }
//! HParamsPluginData { oneof { Experiment experiment = 2; SessionStartInfo start = 3; SessionEndInfo end = 4 } }
//! Experiment        { repeated HParamInfo hparam_infos = 4; repeated MetricInfo metric_infos = 5 }
//! HParamInfo        { string name = 1; enum type = 4 }          STRING = 1, BOOL = 2, FLOAT64 = 3
//! MetricInfo        { MetricName name = 1 }                     MetricName { string tag = 2 }
//! SessionStartInfo  { map<string, google.protobuf.Value> hparams = 1; string group_name = 4; double start = 5 }
//! SessionEndInfo    { enum status = 1; double end = 2 }         SUCCESS = 1, FAILURE = 2
//! ```

use std::io::{self, Write};

use serde_json::Value;

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

/// Writes the names of the hyperparameters, with an example value each, and the tags of the scalars that the HParams tab
/// compares. The event belongs to the root of the folder that TensorBoard opens.
pub(crate) fn write_hparams_experiment(
    out: &mut impl Write,
    wall_time: f64,
    hparams: &[(String, Value)],
    metrics: &[String],
) -> io::Result<()> {
    let mut experiment = Vec::new();
    for (name, value) in hparams {
        let mut info = Vec::new();
        bytes_field(&mut info, 1, name.as_bytes());
        info.extend([
            key(4, VARINT),
            match value {
                Value::Number(_) => 3,
                Value::Bool(_) => 2,
                _ => 1,
            },
        ]);
        bytes_field(&mut experiment, 4, &info);
    }
    for tag in metrics {
        let (mut name, mut info) = (Vec::new(), Vec::new());
        bytes_field(&mut name, 2, tag.as_bytes());
        bytes_field(&mut info, 1, &name);
        bytes_field(&mut experiment, 5, &info);
    }
    write_hparams(out, wall_time, "_hparams_/experiment", 2, &experiment)
}

/// Writes the hyperparameters of a run.
pub(crate) fn write_session_start(
    out: &mut impl Write,
    wall_time: f64,
    group: &str,
    hparams: &[(String, Value)],
) -> io::Result<()> {
    let mut start = Vec::new();
    for (name, value) in hparams {
        let (mut entry, mut content) = (Vec::new(), Vec::new());
        match value {
            Value::Number(number) => {
                content.push(key(2, FIXED64));
                content.extend(number.as_f64().unwrap_or(f64::NAN).to_le_bytes());
            }
            Value::Bool(flag) => content.extend([key(4, VARINT), u8::from(*flag)]),
            Value::String(text) => bytes_field(&mut content, 3, text.as_bytes()),
            other => bytes_field(&mut content, 3, other.to_string().as_bytes()),
        }
        bytes_field(&mut entry, 1, name.as_bytes());
        bytes_field(&mut entry, 2, &content);
        bytes_field(&mut start, 1, &entry);
    }
    bytes_field(&mut start, 4, group.as_bytes());
    start.push(key(5, FIXED64));
    start.extend(wall_time.to_le_bytes());
    write_hparams(out, wall_time, "_hparams_/session_start_info", 3, &start)
}

/// Writes whether a run succeeded.
pub(crate) fn write_session_end(out: &mut impl Write, wall_time: f64, success: bool) -> io::Result<()> {
    let mut end = vec![key(1, VARINT), if success { 1 } else { 2 }, key(2, FIXED64)];
    end.extend(wall_time.to_le_bytes());
    write_hparams(out, wall_time, "_hparams_/session_end_info", 4, &end)
}

fn write_hparams(
    out: &mut impl Write,
    wall_time: f64,
    tag: &str,
    field: u8,
    content: &[u8],
) -> io::Result<()> {
    let [mut data, mut plugin, mut metadata, mut value, mut summary] = [const { Vec::new() }; 5];
    bytes_field(&mut data, field, content);
    bytes_field(&mut plugin, 1, b"hparams");
    bytes_field(&mut plugin, 2, &data);
    bytes_field(&mut metadata, 1, &plugin);
    bytes_field(&mut value, 1, tag.as_bytes());
    bytes_field(&mut value, 9, &metadata);
    bytes_field(&mut summary, 1, &value);
    let mut event = header(wall_time, 0);
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

/// Returns the step of an event, which follows its wall time as written by [`header`]; `None` for an event without one.
fn step(event: &[u8]) -> Option<u64> {
    let mut rest = event.get(9..)?.strip_prefix(&[key(2, VARINT)])?.iter();
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
