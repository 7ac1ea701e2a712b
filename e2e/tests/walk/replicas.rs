//! Several schedulers and controllers: one leads, the others stand by or share the work, and whoever dies is replaced.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::{Cluster, Replica, Step, eventually};

pub const STEPS: &[Step] = &[
    ("replicas: several schedulers and replica-controllers are ready, and a Lease says who leads", several),
    ("replicas: kill -9 of those who lead, and others go on within seconds", kill_leaders),
    ("replicas: an orderly end hands over at once", hand_over),
];

/// The role, and the unit of the local cluster that stands for it.
const ROLES: [(&str, &str); 2] = [("binder", "scheduler"), ("replica-controller", "replica-controller")];

fn holder(cluster: &Cluster, role: &str) -> Result<String> {
    cluster.kubectl().path(&format!("get lease {role} -n kube-system"), "{.spec.holderIdentity}")
}

/// Two more of each, as processes beside the local cluster's.
fn more(cluster: &Cluster) -> Result<Vec<Replica>> {
    let units = ROLES.iter().flat_map(|(_, unit)| [*unit, *unit]);
    let replicas = units.map(|unit| cluster.replica(unit)).collect::<Result<Vec<_>>>()?;
    for replica in &replicas {
        eventually("a replica is ready", || Ok(replica.is_ready().then_some(())))?;
    }
    Ok(replicas)
}

/// The deployment that shows that there is work done; an earlier step may have made it.
fn web(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    match kubectl.run("get deployment web")?.code {
        0 => Ok(()),
        _ => kubectl.ok("create deployment web --image=redis:7 --replicas=4").map(drop),
    }
}

fn has_pods(cluster: &Cluster, count: usize) -> Result<()> {
    let kubectl = cluster.kubectl();
    eventually(&format!("{count} pods are ready"), || {
        let ready = kubectl.path("get deployment web", "{.status.readyReplicas} {.status.replicas}")?;
        Ok((ready == format!("{count} {count}")).then_some(()))
    })
}

fn several(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let replicas = more(cluster)?;
    web(cluster)?;
    has_pods(cluster, 4)?;
    for (role, unit) in ROLES {
        let line = kubectl.ok(&format!("get lease {role} -n kube-system --no-headers"))?;
        ensure!(line.contains(&holder(cluster, role)?), "{line}");
        let mut leaders = usize::from(cluster.leads(unit)?);
        leaders += replicas.iter().filter(|one| one.unit() == unit && one.leads()).count();
        ensure!(leaders == 1, "{leaders} lead as {role}");
    }
    Ok(())
}

fn kill_leaders(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let mut replicas = more(cluster)?;
    web(cluster)?;
    for (index, (role, unit)) in ROLES.into_iter().enumerate() {
        let before = holder(cluster, role)?;
        match replicas.iter().position(|one| one.unit() == unit && one.leads()) {
            Some(leader) => replicas.swap_remove(leader).kill()?,
            None => cluster.crash(unit)?,
        }
        let timer = Instant::now();
        kubectl.ok(&format!("scale deployment web --replicas={}", 5 + index))?;
        has_pods(cluster, 5 + index)?;
        ensure!(holder(cluster, role)? != before, "{before} leads still as {role}");
        ensure!(timer.elapsed() < Duration::from_secs(30), "it took {:?}", timer.elapsed());
    }
    Ok(())
}

fn hand_over(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    let replicas = more(cluster)?;
    web(cluster)?;
    for (role, unit) in ROLES {
        let before = holder(cluster, role)?;
        let timer = Instant::now();
        match replicas.iter().find(|one| one.unit() == unit && one.leads()) {
            Some(leader) => leader.terminate()?,
            // The supervisor starts another, which comes too late to lead.
            None => cluster.terminate(unit)?,
        }
        eventually("another holds the Lease", || {
            let now = holder(cluster, role)?;
            Ok((!now.is_empty() && now != before).then_some(()))
        })?;
        ensure!(timer.elapsed() < Duration::from_secs(5), "it took {:?}", timer.elapsed());
    }
    kubectl.ok("scale deployment web --replicas=2")?;
    has_pods(cluster, 2)?;
    kubectl.ok("delete deployment web")?;
    Ok(())
}
