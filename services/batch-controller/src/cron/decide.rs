//! PURE: the next step of a cron job.

use std::time::Duration;

use bus::command::{PatchFormat, Resource, Write};
use client::{Decision, Note, NoteKind};
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, Job};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::schedule::Schedule;

/// What to do about `cron`, given its jobs.
pub fn decide(cron: &CronJob, jobs: &[&Job], now: Timestamp) -> Decision {
    let Some(spec) = &cron.spec else { return Decision { reason: "it has no spec", ..Decision::default() } };
    let mut decision = Decision::default();
    decision.writes.extend(old_jobs(spec, jobs));
    let mut scheduled = None;
    if cron.metadata.deletion_timestamp.is_none() && spec.suspend != Some(true) {
        match Schedule::parse(&spec.schedule, spec.time_zone.as_deref()) {
            Ok(schedule) => scheduled = keep(cron, spec, &schedule, jobs, now, &mut decision),
            Err(unreadable) => {
                let message = format!("unparseable schedule: {}", unreadable.0);
                decision.notes.push(note(cron, NoteKind::Warning, "UnparseableSchedule", message));
            }
        }
    }
    decision.writes.extend(update_status(cron, jobs, scheduled));
    decision
}

/// Starts the job that is due; returns its time.
fn keep(
    cron: &CronJob,
    spec: &CronJobSpec,
    schedule: &Schedule,
    jobs: &[&Job],
    now: Timestamp,
    decision: &mut Decision,
) -> Option<Timestamp> {
    if let Some(next) = schedule.next(now) {
        let wait: Duration = next.duration_since(now).try_into().unwrap_or(Duration::ZERO);
        // A little later, so that the time is surely reached.
        decision.again_after = Some(wait + Duration::from_millis(10));
    }
    let created = cron.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
    let last = cron.status.as_ref().and_then(|status| status.last_schedule_time.as_ref()).map(|time| time.0);
    let mut after = last.unwrap_or(created);
    if let Some(seconds) = spec.starting_deadline_seconds {
        after = after.max(now.checked_sub(SignedDuration::from_secs(seconds)).unwrap_or(after));
    }
    let (due, missed) = schedule.last_between(after, now)?;
    if missed >= 100 {
        let message =
            "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
        decision.notes.push(note(cron, NoteKind::Warning, "TooManyMissedTimes", message.to_owned()));
    }
    let name = format!("{}-{}", cron.metadata.name.as_deref().unwrap_or_default(), due.as_second() / 60);
    if jobs.iter().any(|job| job.metadata.name.as_deref() == Some(name.as_str())) {
        return Some(due);
    }
    let active: Vec<&&Job> = jobs.iter().filter(|job| ended(job).is_none()).collect();
    match spec.concurrency_policy.as_deref() {
        Some("Forbid") if !active.is_empty() => {
            decision.reason = "the last job goes on, and it forbids two";
            let message =
                "Not starting job because prior execution is running and concurrency policy is Forbid";
            decision.notes.push(note(cron, NoteKind::Normal, "JobAlreadyActive", message.to_owned()));
            return None;
        }
        Some("Replace") => decision.writes.extend(active.into_iter().map(|job| delete(job))),
        _ => {}
    }
    decision.reason = "a job is due";
    decision.writes.push(create(cron, spec, &name, due));
    decision.notes.push(note(cron, NoteKind::Normal, "SuccessfulCreate", format!("Created job {name}")));
    Some(due)
}

/// Ended jobs beyond the history limits, the oldest first.
fn old_jobs(spec: &CronJobSpec, jobs: &[&Job]) -> Vec<Write> {
    let limits = [
        ("Complete", spec.successful_jobs_history_limit.unwrap_or(3)),
        ("Failed", spec.failed_jobs_history_limit.unwrap_or(1)),
    ];
    let surplus = limits.into_iter().flat_map(|(kind, limit)| {
        let mut ended: Vec<&&Job> = jobs.iter().filter(|job| ended(job) == Some(kind)).collect();
        ended.sort_by_key(|job| job.metadata.creation_timestamp.as_ref().map(|time| time.0));
        let kept = usize::try_from(limit).unwrap_or(0);
        let count = ended.len().saturating_sub(kept);
        ended.into_iter().take(count).collect::<Vec<_>>()
    });
    let alive = surplus.filter(|job| job.metadata.deletion_timestamp.is_none());
    alive.map(|job| delete(job)).collect()
}

fn update_status(cron: &CronJob, jobs: &[&Job], scheduled: Option<Timestamp>) -> Option<Write> {
    let present = cron.status.as_ref().map(|status| json!(status)).unwrap_or_default();
    let active: Vec<Value> = jobs
        .iter()
        .filter(|job| ended(job).is_none())
        .map(|job| {
            json!({
                "apiVersion": "batch/v1", "kind": "Job", "namespace": job.metadata.namespace,
                "name": job.metadata.name, "uid": job.metadata.uid,
            })
        })
        .collect();
    let uids = |list: &Value| -> Vec<Value> {
        list.as_array().into_iter().flatten().map(|one| one["uid"].clone()).collect()
    };
    let mut wanted = json!({});
    if uids(&json!(active)) != uids(&present["active"]) {
        wanted["active"] = json!(active);
    }
    if let Some(time) = scheduled.map(text).filter(|time| present["lastScheduleTime"] != **time) {
        wanted["lastScheduleTime"] = json!(time);
    }
    let succeeded =
        jobs.iter().filter_map(|job| job.status.as_ref()?.completion_time.as_ref()).map(|time| time.0).max();
    let known =
        cron.status.as_ref().and_then(|status| status.last_successful_time.as_ref()).map(|time| time.0);
    if let Some(time) = succeeded.filter(|time| known.is_none_or(|known| known < *time)) {
        wanted["lastSuccessfulTime"] = json!(text(time));
    }
    let changed = wanted.as_object().is_some_and(|fields| !fields.is_empty());
    changed.then(|| Write::Patch {
        resource: Resource::new("batch", "v1", "cronjobs"),
        namespace: cron.metadata.namespace.clone().unwrap_or_default(),
        name: cron.metadata.name.clone().unwrap_or_default(),
        subresource: "status".to_owned(),
        format: PatchFormat::Merge,
        patch: json!({"metadata": {"uid": cron.metadata.uid}, "status": wanted}).to_string().into(),
    })
}

fn text(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn ended(job: &Job) -> Option<&str> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let mut ends = conditions.iter().filter(|one| one.status == "True");
    ends.find(|one| ["Complete", "Failed"].contains(&one.type_.as_str())).map(|one| one.type_.as_str())
}

fn create(cron: &CronJob, spec: &CronJobSpec, name: &str, due: Timestamp) -> Write {
    let mut job = json!(spec.job_template);
    job["apiVersion"] = json!("batch/v1");
    job["kind"] = json!("Job");
    let metadata = &mut job["metadata"];
    metadata["name"] = json!(name);
    metadata["namespace"] = json!(cron.metadata.namespace);
    metadata["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"] = json!(text(due));
    metadata["ownerReferences"] = json!([{
        "apiVersion": "batch/v1", "kind": "CronJob", "name": cron.metadata.name, "uid": cron.metadata.uid,
        "controller": true, "blockOwnerDeletion": true,
    }]);
    Write::Create {
        resource: Resource::new("batch", "v1", "jobs"),
        namespace: cron.metadata.namespace.clone().unwrap_or_default(),
        object: job.to_string().into(),
    }
}

fn delete(job: &Job) -> Write {
    let options = json!({
        "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background",
        "preconditions": {"uid": job.metadata.uid},
    });
    Write::Delete {
        resource: Resource::new("batch", "v1", "jobs"),
        namespace: job.metadata.namespace.clone().unwrap_or_default(),
        name: job.metadata.name.clone().unwrap_or_default(),
        options: options.to_string().into(),
    }
}

fn note(cron: &CronJob, severity: NoteKind, reason: &str, message: String) -> Note {
    Note {
        api_version: "batch/v1".to_owned(),
        kind: "CronJob".to_owned(),
        namespace: cron.metadata.namespace.clone().unwrap_or_default(),
        name: cron.metadata.name.clone().unwrap_or_default(),
        uid: cron.metadata.uid.clone().unwrap_or_default(),
        severity,
        reason: reason.to_owned(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_cron(spec: Value) -> CronJob {
        let mut object = json!({
            "metadata": {"name": "tick", "namespace": "default", "uid": "c", "creationTimestamp": "2026-01-01T00:00:30Z"},
            "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": {"spec": {"containers": []}}}}}
        });
        for (field, value) in spec.as_object().into_iter().flatten() {
            object["spec"][field] = value.clone();
        }
        serde_json::from_value(object).expect("a cron job")
    }

    fn mk_job(name: &str, end: Option<&str>) -> Job {
        let conditions = end.map(|end| json!([{"type": end, "status": "True"}]));
        serde_json::from_value(
            json!({"metadata": {"name": name, "uid": name}, "status": {"conditions": conditions}}),
        )
        .expect("a job")
    }

    fn shown(decision: &Decision) -> Vec<String> {
        let writes = decision.writes.iter().map(|write| match write {
            Write::Create { object, .. } => {
                let job: Value = serde_json::from_slice(object).expect("JSON");
                format!("create {}", job["metadata"]["name"].as_str().unwrap_or_default())
            }
            Write::Delete { name, .. } => format!("delete {name}"),
            Write::Patch { .. } => "status".to_owned(),
            other => format!("{other:?}"),
        });
        writes.collect()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn a_job_is_made_when_it_is_due_and_not_before() {
        let cron = mk_cron(json!({}));
        let early = decide(&cron, &[], at("2026-01-01T00:00:59Z"));
        assert_eq!((shown(&early), early.again_after), (vec![], Some(Duration::from_millis(1010))));
        let due = decide(&cron, &[], at("2026-01-01T00:01:00Z"));
        assert_eq!(shown(&due), ["create tick-29453761", "status"]);
        let made = mk_job("tick-29453761", None);
        assert!(
            !shown(&decide(&cron, &[&made], at("2026-01-01T00:01:00Z")))
                .contains(&"create tick-29453761".into())
        );
    }

    #[test]
    fn the_policy_says_what_happens_while_a_job_goes_on() {
        let running = mk_job("tick-1", None);
        let at_two = at("2026-01-01T00:01:00Z");
        let forbid = mk_cron(json!({"concurrencyPolicy": "Forbid"}));
        assert_eq!(shown(&decide(&forbid, &[&running], at_two)), ["status"]);
        let replace = mk_cron(json!({"concurrencyPolicy": "Replace"}));
        assert_eq!(
            shown(&decide(&replace, &[&running], at_two)),
            ["delete tick-1", "create tick-29453761", "status"]
        );
    }

    #[test]
    fn history_is_cut_to_its_limits() {
        let cron = mk_cron(json!({"suspend": true, "successfulJobsHistoryLimit": 1}));
        let (first, second) = (mk_job("tick-1", Some("Complete")), mk_job("tick-2", Some("Complete")));
        assert_eq!(shown(&decide(&cron, &[&first, &second], at("2026-01-01T00:01:00Z"))), ["delete tick-1"]);
    }
}
