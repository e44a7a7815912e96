//! How long the shim itself takes, without an engine: `pace [RUNS]` prints medians in milliseconds of creating and starting
//! a container, of an exec from request to the end of `true`, and of deleting; `pace RUNS --each` the nanoseconds of each
//! Create and Start together.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

use std::time::Instant;

use tests::shim::Shim;
use tests::stdio::Pipes;
use tests::{Bundle, Container};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let runs = std::env::args().nth(1).map_or(30, |runs| runs.parse().expect("a number"));
    let mut times = [const { Vec::new() }; 6];
    let long = Container::sleeping(Bundle::new()).await;
    if std::env::var_os("PACE_SHIM").is_some() {
        println!("{}", long.shim.pid);
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    }
    for _ in 0..runs {
        let bundle = Bundle::new();
        let mut clock = Clock(Instant::now());
        let shim = Shim::start(&bundle).await;
        times[0].push(clock.lap());
        let container = Container::create_in(&shim, bundle, Pipes::none()).await.expect("create");
        times[1].push(clock.lap());
        container.start().await.expect("start");
        times[5].push(clock.since());
        container.wait().await;
        times[2].push(clock.lap());
        container.delete().await.expect("delete");
        times[3].push(clock.lap());
        shim.shut_down().await.expect("shutdown");
        let spec = long.process(&["/bin/true"]);
        let mut clock = Clock(Instant::now());
        assert_eq!(long.exec_process(&spec).await.expect("an exec").status, 0);
        times[4].push(clock.lap());
    }
    long.end().await;
    if std::env::args().any(|argument| argument == "--each") {
        for (create, start) in times[1].iter().zip(&times[5]) {
            println!("{:.0}", (create + start) * 1e6);
        }
        return;
    }
    for (name, times) in ["shim", "create", "start+wait", "delete", "exec"].iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        println!("{name:12} {:6.2} ms", times[times.len() / 2]);
    }
}

struct Clock(Instant);

impl Clock {
    /// Milliseconds since the last lap.
    fn since(&self) -> f64 {
        self.0.elapsed().as_secs_f64() * 1000.0
    }

    /// Milliseconds since the last call.
    fn lap(&mut self) -> f64 {
        let passed = self.since();
        self.0 = Instant::now();
        passed
    }
}
