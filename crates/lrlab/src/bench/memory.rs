//! The resident memory of this process (Linux only).

/// Returns the resident bytes and resets the peak.
pub(super) fn reset_peak() -> Option<u64> {
    // "5" resets the peak to the current resident size (man 5 proc_pid_clear_refs).
    std::fs::write("/proc/self/clear_refs", "5").ok()?;
    status("VmRSS:")
}

/// Returns the peak of resident bytes since the reset.
pub(super) fn peak() -> Option<u64> {
    status("VmHWM:")
}

fn status(key: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib << 10)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_peak_includes_touched_pages() {
        let before = reset_peak().unwrap();
        let block = std::hint::black_box(vec![1_u8; 64 << 20]);
        drop(block);
        let grown = peak().unwrap() - before;
        assert!((60 << 20..200 << 20).contains(&grown), "{grown} bytes");
    }
}
