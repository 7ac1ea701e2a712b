//! Every query of every dashboard, asked of a real Prometheus that watches a cluster under load: a panel without data is
//! a panel about a metric that nobody has. With `SAMPAN_DRAW=<folder>` each dashboard is drawn there as well.
//!
//! ```text
//!  load (kubectl) ──> cluster ──/metrics──> prometheus <──promtool── each panel of deploy/monitoring ──> picture
//! ```

mod board;
mod picture;
mod prometheus;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::{Cluster, Step, eventually, walk};

use board::Board;
use prometheus::Prometheus;

const STEPS: &[Step] = &[
    ("the rules are well-formed, and so is what docker-compose scrapes", |_| well_formed()),
    ("every panel has data while the cluster works", panels),
];

/// How long the cluster works before the panels must have something to show: rates need some scrapes.
const WORK: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    match Cluster::up() {
        Ok(cluster) => walk(&cluster, STEPS),
        Err(error) => {
            eprintln!("no cluster to look at: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn monitoring() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/monitoring")
}

fn well_formed() -> Result<()> {
    prometheus::check("rules", &monitoring().join("rules/sampan.yml"))?;
    prometheus::check("config", &monitoring().join("prometheus.yml"))
}

fn panels(cluster: &Cluster) -> Result<()> {
    let prometheus = Prometheus::start(cluster, &monitoring().join("rules/sampan.yml"))?;
    let began = Instant::now();
    load(cluster)?;
    let boards = Board::all(&monitoring().join("dashboards"))?;
    ensure!(boards.len() == 6, "{} dashboards", boards.len());
    for board in &boards {
        for (panel, query) in board.queries() {
            let what = format!("{}: {panel}: {query}", board.title);
            eventually(&what, || Ok((!prometheus.now(query)?.is_empty()).then_some(())))?;
        }
        println!("        {}: {} panels", board.title, board.panels.len());
    }
    if let Some(folder) = std::env::var_os("SAMPAN_DRAW") {
        for board in &boards {
            picture::draw(&PathBuf::from(&folder), board, &prometheus, began.elapsed())?;
        }
    }
    Ok(())
}

/// What makes every part of a cluster work: roll-outs, a Service with its name asked for, a Job, requests refused.
fn load(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.ok("create deployment web --image=busybox:1 --replicas=4 -- sleep 3600")?;
    kubectl.ok("expose deployment web --port=80")?;
    kubectl.ok("rollout status deployment/web --timeout=60s")?;
    let began = Instant::now();
    for round in 0.. {
        if began.elapsed() > WORK {
            break;
        }
        kubectl.ok(&format!("scale deployment web --replicas={}", 3 + round % 4))?;
        kubectl.ok("rollout restart deployment/web")?;
        kubectl.ok(&format!("create job work-{round} --image=busybox:1 -- true"))?;
        kubectl.ok("rollout status deployment/web --timeout=60s")?;
        let pod = kubectl.path("get pods -l app=web", "{.items[0].metadata.name}")?;
        // The pod may be replaced at this moment; the next round asks another one.
        kubectl.run(&format!("exec {pod} -- nslookup web.default.svc.cluster.local"))?;
        ensure!(kubectl.run("get pods nobody")?.code != 0, "a pod that is not there");
    }
    kubectl.path("get deployment web", "{.status.replicas}").context("the cluster answers")?;
    Ok(())
}
