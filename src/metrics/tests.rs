use std::time::Duration;

use super::*;

#[test]
fn what_was_counted_is_told_with_its_help() {
    let metrics = Metrics::new();
    metrics.commits.inc_by(3);
    metrics.http_errors.get_or_create(&Code { code: "not_found".into() }).inc();

    let text = metrics.text(Format::Prometheus);

    for line in [
        "# HELP orion_chat_commits_total Commits of operations.",
        "# TYPE orion_chat_commits_total counter",
        "orion_chat_commits_total 3",
        r#"orion_chat_http_errors_total{code="not_found"} 1"#,
        "# TYPE orion_chat_build_info gauge",
        concat!("orion_chat_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        "# TYPE process_cpu_seconds_total counter",
    ] {
        assert!(text.lines().any(|found| found == line), "no {line:?} in {text}");
    }
    for name in ["process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds"]
    {
        let value =
            text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
        assert!(value.is_some_and(|value| value > 0.0), "{name} in {text}");
    }
    assert!(!text.contains("# EOF") && !text.contains("# UNIT"), "{text}");
}

#[test]
fn openmetrics_ends_with_its_mark() {
    let text = Metrics::new().text(Format::OpenMetrics);

    assert!(
        text.contains("# TYPE orion_chat_commits counter\norion_chat_commits_total 0\n"),
        "{text}"
    );
    assert!(text.ends_with("# EOF\n"), "{text}");
}

#[test]
fn a_client_gets_the_format_that_it_asks_for() {
    for (accept, expected) in [
        ("", Format::Prometheus),
        ("*/*", Format::Prometheus),
        ("text/plain;version=0.0.4", Format::Prometheus),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", Format::OpenMetrics),
        ("application/openmetrics-text;q=0, text/plain", Format::Prometheus),
        ("application/openmetrics-text; q=0.0, text/plain", Format::Prometheus),
        // What Prometheus itself sends.
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;q=0.2,*/*;q=0.1",
            Format::OpenMetrics,
        ),
    ] {
        assert_eq!(Format::accepted(accept), expected, "{accept:?}");
    }
}

#[test]
fn a_duration_is_in_the_bucket_that_ends_with_it() {
    let metrics = Metrics::new();
    for micros in [50, 51, 100, 20_000_000] {
        metrics.commit_duration_seconds.took(Duration::from_micros(micros));
    }

    let text = metrics.text(Format::Prometheus);

    for line in [
        r#"_bucket{le="0.00005"} 1"#,
        r#"_bucket{le="0.0001"} 3"#,
        r#"_bucket{le="10.0"} 3"#,
        r#"_bucket{le="+Inf"} 4"#,
        "_count 4",
        "_sum 20.000201",
    ] {
        let line = format!("orion_chat_commit_duration_seconds{line}");
        assert!(text.lines().any(|found| found == line), "no {line:?} in {text}");
    }
}

#[test]
fn quantiles_are_of_what_came_between_two_moments() {
    let times = Durations::default();
    times.took(Duration::from_hours(1));
    let before = times.counts();
    assert_eq!(times.counts().since(&before).quantile::<Seconds>(0.5), None);

    for _ in 0..99 {
        times.took(Duration::from_micros(80));
    }
    times.took(Duration::from_millis(20));

    let since = times.counts().since(&before);
    assert_eq!(since.total(), 100);
    let of = |q| since.quantile::<Seconds>(q).unwrap();
    assert!((50e-6..=100e-6).contains(&of(0.5)), "{}", of(0.5));
    assert!((50e-6..=100e-6).contains(&of(0.99)), "{}", of(0.99));
    assert!((10e-3..=25e-3).contains(&of(1.0)), "{}", of(1.0));
    assert!((of(0.5) - 75e-6).abs() < 2e-6, "evenly in its bucket: {}", of(0.5));
    assert_eq!(before.quantile::<Seconds>(0.5), Some(10.0), "beyond the last end");
}
