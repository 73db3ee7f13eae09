//! What the system knows of this process, under the names that every Prometheus client uses.

use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Ticks in a second, as Linux tells times: 100 on every machine that this runs on.
const TICKS: f64 = 100.0;

/// Reads `/proc` whenever it is asked. What cannot be read is left out.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut gauge = |name: &str, help: &str, value: Option<f64>| match value
            .map(ConstGauge::new)
        {
            Some(gauge) => {
                let described = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
                gauge.encode(described)
            }
            None => Ok(()),
        };
        gauge(
            "process_resident_memory_bytes",
            "Memory that the process takes up.",
            resident_bytes(),
        )?;
        gauge("process_open_fds", "Descriptors that are open.", open_descriptors())?;
        gauge("process_max_fds", "Descriptors that may be open.", max_descriptors())?;
        gauge("process_start_time_seconds", "When the process began, in Unix time.", started())?;
        let Some(cpu) = stat().and_then(|stat| Some((stat.field(14)? + stat.field(15)?) / TICKS))
        else {
            return Ok(());
        };
        let (cpu, help) = (ConstCounter::new(cpu), "Time of processors that was used.");
        let kind = cpu.metric_type();
        cpu.encode(encoder.encode_descriptor("process_cpu_seconds", help, None, kind)?)
    }
}

/// Memory that this process takes up, in bytes.
fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0)
}

#[expect(clippy::cast_precision_loss, reason = "nobody has so many")]
fn open_descriptors() -> Option<f64> {
    // One of them is for looking.
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

fn max_descriptors() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn started() -> Option<f64> {
    let system = fs::read_to_string("/proc/stat").ok()?;
    let booted: f64 = system.lines().find_map(|line| line.strip_prefix("btime "))?.parse().ok()?;
    Some(booted + stat()?.field(22)? / TICKS)
}

/// `/proc/self/stat` from its third field on, behind the name, which may hold anything.
struct Stat(String);

fn stat() -> Option<Stat> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    Some(Stat(stat.rsplit_once(')')?.1.to_owned()))
}

impl Stat {
    /// A field by its number in `man 5 proc`.
    fn field(&self, number: usize) -> Option<f64> {
        self.0.split_whitespace().nth(number - 3)?.parse().ok()
    }
}
