//! Event files of TensorBoard.

use super::*;

/// Returns the scalars of an event file as `(tag, step, value)` and restarts as `("", step, 0)`. The reader shares no code with
/// the writer.
fn read_events(bytes: &[u8]) -> Vec<(String, u64, f32)> {
    let mut rest = bytes;
    let mut scalars = Vec::new();
    let mut take = |n: usize| {
        let (head, tail) = rest.split_at_checked(n)?;
        rest = tail;
        Some(head)
    };
    let crc = |bytes: &[u8]| {
        let mut crc = u32::MAX;
        for byte in bytes {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
            }
        }
        let crc = !crc;
        crc.rotate_right(15).wrapping_add(0xa282_ead8)
    };
    while let Some(length) = take(8) {
        let size = u64::from_le_bytes(length.try_into().unwrap());
        assert_eq!(take(4).unwrap(), crc(length).to_le_bytes());
        let event = take(size as usize).unwrap();
        assert_eq!(take(4).unwrap(), crc(event).to_le_bytes());
        let fields = message(event);
        let step = fields.iter().find(|f| f.0 == 2).unwrap().1;
        for (field, _, bytes) in &fields {
            match field {
                1 => assert_eq!(bytes.len(), 8),
                2 => {}
                3 => assert_eq!(*bytes, b"brain.Event:2"),
                5 => scalars.extend(message(bytes).iter().map(|value| {
                    let value = message(value.2);
                    let number = f32::from_le_bytes(value[1].2.try_into().unwrap());
                    (String::from_utf8(value[0].2.to_vec()).unwrap(), step, number)
                })),
                7 => scalars.push((String::new(), step, 0.0)),
                other => panic!("field {other}"),
            }
        }
    }
    scalars
}

/// Returns the number, the varint and the bytes of each field of a message.
fn message(mut bytes: &[u8]) -> Vec<(u8, u64, &[u8])> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let (number, size) = match key & 7 {
            0 => (varint(&mut bytes), 0),
            1 => (0, 8),
            2 => (0, varint(&mut bytes) as usize),
            5 => (0, 4),
            other => panic!("wire type {other}"),
        };
        let (head, tail) = bytes.split_at(size);
        bytes = tail;
        fields.push(((key >> 3) as u8, number, head));
    }
    fields
}

fn event_files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Writes the files of a run that is interrupted after update 5 and resumes from a checkpoint at update 4.
fn interrupted_run(folder: &Path) {
    let make = || Callbacks::default().with(monitor()).with(TensorBoardLogger::new(folder));
    let (mut callbacks, mut sim) = (make(), Sim::new(script()));
    sim.start(&mut callbacks).unwrap();
    while sim.update < 4 {
        sim.step(&mut callbacks).unwrap();
    }
    let checkpoint = (sim.clone(), callbacks.state());
    sim.step(&mut callbacks).unwrap();
    drop(callbacks);
    let (mut sim, state) = checkpoint;
    let mut callbacks = make();
    callbacks.restore(state).unwrap();
    sim.run(&mut callbacks).unwrap();
}

#[test]
fn tensorboard_files_read_back() {
    let folder = tempfile::tempdir().unwrap();
    interrupted_run(folder.path());
    let files = event_files(folder.path());
    let events: Vec<_> = files.iter().map(|file| read_events(&std::fs::read(file).unwrap())).collect();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].iter().filter(|e| e.0 == "update/loss").count(), 4, "later events are removed");
    assert_eq!(events[1][0], (String::new(), 5, 0.0), "readers ignore steps from 5 on");
    let curve = |tag: &str| -> Vec<(u64, f32)> {
        let both = events[0].iter().chain(&events[1]);
        both.filter(|e| e.0 == tag).map(|e| (e.1, e.2)).collect()
    };
    let losses: Vec<_> = (1..=12).map(|update| (update, (1.0 / update as f64) as f32)).collect();
    assert_eq!(curve("update/loss"), losses);
    assert_eq!(format!("{:?}", curve("val/loss")), "[(3, 0.5), (6, NaN), (9, 0.5), (12, 0.5)]");
    assert_eq!(curve("epoch"), [(3, 1.0), (6, 2.0), (9, 3.0), (12, 4.0)]);
    assert_eq!(curve("update/gain")[5..8], [(6, 1.0), (7, 0.5), (8, 0.5)]);

    // In a new folder, a resumed run writes the history first.
    let (other, mut sim) = (tempfile::tempdir().unwrap(), Sim::new(script()));
    while sim.epoch < 3 {
        sim.step(&mut Callbacks::default()).unwrap();
    }
    sim.run(&mut Callbacks::default().with(TensorBoardLogger::new(other.path()).updates_every(0))).unwrap();
    let events = read_events(&std::fs::read(&event_files(other.path())[0]).unwrap());
    let epochs: Vec<_> = events.iter().filter(|e| e.0 == "epoch").map(|e| (e.1, e.2)).collect();
    assert_eq!(epochs, [(3, 1.0), (6, 2.0), (9, 3.0), (12, 4.0)]);
    assert!(events.iter().all(|e| !e.0.starts_with("update")));
}

/// After a crash at any event and a resume from an earlier checkpoint, the files contain every value once.
#[test]
fn tensorboard_files_of_a_resumed_run_are_complete() {
    let curves = |folder: &Path| -> Vec<(String, u64, f32)> {
        let files = event_files(folder);
        let events = files.iter().flat_map(|file| read_events(&std::fs::read(file).unwrap()));
        events.filter(|event| !event.0.is_empty()).collect()
    };
    let whole = tempfile::tempdir().unwrap();
    let make = |folder: &Path| Callbacks::default().with(monitor()).with(TensorBoardLogger::new(folder));
    Sim::new(script()).run(&mut make(whole.path())).unwrap();
    let expected = curves(whole.path());
    for behind in [0, 1, 2, 5] {
        for events in behind.. {
            let folder = tempfile::tempdir().unwrap();
            let Some((mut sim, state)) = killed(make(folder.path()), events, behind) else { break };
            if sim.update == 0 {
                continue;
            }
            // The crash truncates a record.
            let file = event_files(folder.path()).pop().unwrap();
            let mut bytes = std::fs::read(&file).unwrap();
            bytes.extend_from_slice(&[24, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
            std::fs::write(&file, bytes).unwrap();
            let mut callbacks = make(folder.path());
            callbacks.restore(state).unwrap();
            sim.run(&mut callbacks).unwrap();
            // As text, because NaN is not equal to itself.
            let (found, expected) = (curves(folder.path()), &expected);
            assert_eq!(
                format!("{found:?}"),
                format!("{expected:?}"),
                "{behind} behind, after {events} events"
            );
        }
    }
}

/// Event files of other programs in the same folder stay as they are.
#[test]
fn files_of_other_programs_are_not_truncated() {
    let folder = tempfile::tempdir().unwrap();
    let others = ["events.out.tfevents.1700000000.gpu.lrlab.org.1234.0", "notes about tfevents.txt"];
    for name in others {
        std::fs::write(folder.path().join(name), b"written by another program").unwrap();
    }
    interrupted_run(folder.path());
    for name in others {
        assert_eq!(std::fs::read(folder.path().join(name)).unwrap(), b"written by another program");
    }
    assert_eq!(event_files(folder.path()).len(), 4);
}

/// Reads the files with TensorBoard, if it is installed (`PYTHON` names an interpreter other than `python3`).
#[test]
fn tensorboard_reads_our_files() {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has_it = Command::new(&python).args(["-c", "import tensorboard"]).output();
    if !has_it.is_ok_and(|output| output.status.success()) {
        println!("skipped: {python} cannot import tensorboard");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    interrupted_run(folder.path());
    let script = "
import sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1], size_guidance={'scalars': 0}).Reload()
for tag in sorted(events.Tags()['scalars']):
    print(tag, [(e.step, round(e.value, 4)) for e in events.Scalars(tag)])
";
    let output = Command::new(&python).args(["-c", script]).arg(folder.path()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tags: Vec<_> = text.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(
        tags,
        [
            "epoch",
            "lr",
            "update/gain",
            "update/grad_norm",
            "update/loss",
            "update/lr",
            "val/loss",
            "val/loss_stderr",
        ]
    );
    assert!(text.contains("epoch [(3, 1.0), (6, 2.0), (9, 3.0), (12, 4.0)]"), "{text}");
    assert!(
        text.contains("update/loss [(1, 1.0), (2, 0.5), (3, 0.3333), (4, 0.25), (5, 0.2), (6, 0.1667)"),
        "{text}"
    );
    assert!(text.contains("val/loss [(3, 0.5), (9, 0.5), (12, 0.5)]"), "{text}");
    println!("passed with {python}");
}
