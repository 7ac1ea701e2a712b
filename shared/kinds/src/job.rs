//! Jobs, and CronJobs, which make them.

use model::{FieldError, Object};
use serde_json::{Map, Value, json};

use crate::cell::{self, NONE, UNSET, number, template_columns};
use crate::field::{Errors, Field};
use crate::metadata::{is_true, keep_all_but_status, keep_status, label_selector};
use crate::pod::template;
use crate::{Column, Kind, age, fill};

const UID_LABELS: [&str; 2] = ["batch.kubernetes.io/controller-uid", "controller-uid"];
const NAME_LABELS: [&str; 2] = ["batch.kubernetes.io/job-name", "job-name"];
/// A job's name is the CronJob's and eleven characters, and must fit into a label.
const CRON_NAME_MAX: usize = 52;
const ONCE: [&str; 2] = ["OnFailure", "Never"];

/// The row of Jobs.
pub fn job() -> Kind {
    let mut columns = vec![
        Column::text("Status", "How it stands.", job_status),
        Column::text("Completions", "How many pods have succeeded, of how many.", completions),
        Column::new("Duration", "string", "How long it has taken.", |object, context| {
            duration(object, context.now).into()
        }),
        Column::age(),
    ];
    columns.extend(template_columns(&["spec"], true));
    Kind::namespaced("batch", "v1", "Job", "jobs")
        .in_all()
        .with_status()
        .with_generation()
        .with_columns(columns)
        .with_fields(&[("status.successful", |object| number(object, &["status", "succeeded"]).to_string())])
        .with_hooks(|hooks| {
            hooks.default = default_job;
            hooks.prepare_create = prepare_job;
            hooks.prepare_update = keep_status;
            hooks.prepare_status = keep_all_but_status;
            hooks.validate = validate_job;
            hooks.validate_update = validate_job_update;
        })
}

/// The row of CronJobs.
pub fn cron_job() -> Kind {
    let mut columns = vec![
        Column::text("Schedule", "When it makes jobs.", |object| {
            object.str_at(&["spec", "schedule"]).to_owned()
        }),
        Column::text("Timezone", "Where the clock is that it goes by.", |object| {
            cell::or(object.str_at(&["spec", "timeZone"]), NONE).to_owned()
        }),
        Column::new("Suspend", "boolean", "Whether it rests.", |object, _| {
            let suspended = object.at(&["spec", "suspend"]).and_then(Value::as_bool);
            suspended.map_or(UNSET, |suspended| if suspended { "True" } else { "False" }).into()
        }),
        Column::integer("Active", "How many of its jobs run.", |object| {
            cell::count(object, &["status", "active"])
        }),
        Column::new("Last Schedule", "string", "Time since it last made a job.", |object, context| {
            let last = object.str_at(&["status", "lastScheduleTime"]);
            if last.is_empty() { NONE.into() } else { age::since(last, context.now).into() }
        }),
        Column::age(),
    ];
    columns.extend(template_columns(&["spec", "jobTemplate", "spec"], true));
    Kind::namespaced("batch", "v1", "CronJob", "cronjobs")
        .short(&["cj"])
        .in_all()
        .with_status()
        .with_generation()
        .with_columns(columns)
        .with_hooks(|hooks| {
            hooks.default = default_cron_job;
            hooks.prepare_create = |object| object.set(&["status"], json!({}));
            hooks.prepare_update = keep_status;
            hooks.prepare_status = keep_all_but_status;
            hooks.validate = validate_cron_job;
        })
}

fn job_status(object: &Object) -> String {
    let by_condition = |kinds: &[(&str, &'static str)]| {
        kinds.iter().find(|(kind, _)| is_true(object, kind)).map(|(_, word)| *word)
    };
    let ended = by_condition(&[("Complete", "Complete"), ("Failed", "Failed")]);
    let ending = object.deletion_timestamp().map(|_| "Terminating");
    let waiting = by_condition(&[("Suspended", "Suspended"), ("FailureTarget", "FailureTarget")]);
    ended.or(ending).or(waiting).unwrap_or("Running").to_owned()
}

fn completions(object: &Object) -> String {
    let done = number(object, &["status", "succeeded"]);
    match object.at(&["spec", "completions"]).and_then(Value::as_i64) {
        Some(wanted) => format!("{done}/{wanted}"),
        None => match number(object, &["spec", "parallelism"]) {
            parallel @ 2.. => format!("{done}/1 of {parallel}"),
            _ => format!("{done}/1"),
        },
    }
}

fn duration(object: &Object, now: jiff::Timestamp) -> String {
    let time = |field| object.str_at(&["status", field]).parse::<jiff::Timestamp>().ok();
    match (time("startTime"), time("completionTime")) {
        (None, _) => String::new(),
        (Some(start), end) => age::human_duration(end.unwrap_or(now).duration_since(start).as_secs()),
    }
}

fn default_job(object: &mut Object) {
    let Some(spec) = fill::object(object, "spec") else { return };
    template::default_in(spec);
    if !spec.contains_key("completions") && !spec.contains_key("parallelism") {
        spec.insert("completions".to_owned(), 1.into());
    }
    fill::value(spec, "parallelism", 1);
    let per_index = spec.contains_key("backoffLimitPerIndex");
    fill::value(spec, "backoffLimit", if per_index { i64::from(i32::MAX) } else { 6 });
    fill::text(spec, "completionMode", "NonIndexed");
    fill::value(spec, "suspend", false);
    let policy = if spec.contains_key("podFailurePolicy") { "Failed" } else { "TerminatingOrFailed" };
    fill::text(spec, "podReplacementPolicy", policy);
    let labels =
        spec.get("template").and_then(|template| template["metadata"]["labels"].as_object()).cloned();
    let own = object.at(&["metadata", "labels"]).and_then(Value::as_object);
    if let (Some(labels), true) = (labels, own.is_none_or(Map::is_empty)) {
        object.set(&["metadata", "labels"], labels);
    }
}

/// A job selects its pods by its own uid, unless it says how.
fn prepare_job(object: &mut Object) {
    object.set(&["status"], json!({}));
    let (uid, name) = (object.uid().to_owned(), object.name().to_owned());
    let manual = object.at(&["spec", "manualSelector"]).and_then(Value::as_bool).unwrap_or(false);
    if manual || uid.is_empty() {
        return;
    }
    for (labels, value) in [(UID_LABELS, &uid), (NAME_LABELS, &name)] {
        labels
            .iter()
            .for_each(|label| object.set(&["spec", "template", "metadata", "labels", label], value.as_str()));
    }
    object.set(&["spec", "selector", "matchLabels", UID_LABELS[0]], uid);
}

fn validate_job(object: &Object) -> Errors {
    let mut errors = Errors::new();
    let spec = Field::of(object, "spec");
    validate_job_spec(&spec, &mut errors);
    let selector = spec.at("selector");
    if !selector.is_set() {
        errors.push(selector.required(""));
    }
    let labels = spec.at("template").at("metadata").at("labels");
    let parsed = model::LabelSelector::from_json(selector.value);
    let fits = |one: &model::LabelSelector| one.matches(labels.value.as_object().unwrap_or(&Map::new()));
    if selector.is_set() && parsed.is_ok_and(|one| !fits(&one)) {
        errors.push(labels.invalid("`selector` does not match template `labels`"));
    }
    errors
}

fn validate_job_spec(spec: &Field<'_>, errors: &mut Errors) {
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        spec.at(field).not_negative(errors);
    }
    label_selector(&spec.at("selector"), errors);
    let mode = spec.at("completionMode");
    mode.may_be_one_of(&["NonIndexed", "Indexed"], errors);
    if mode.text() == "Indexed" && !spec.at("completions").is_set() {
        let detail = "when completion mode is Indexed";
        errors.push(spec.at("completions").required(detail));
    }
    let template = spec.at("template");
    template::validate(&template, errors);
    let restart = template.at("spec").at("restartPolicy");
    if !ONCE.contains(&restart.text()) {
        errors.push(restart.required("valid values: \"OnFailure\", \"Never\""));
    }
}

fn validate_job_update(new: &Object, old: &Object) -> Errors {
    let (new, old) = (Field::of(new, "spec"), Field::of(old, "spec"));
    let mut errors = Errors::new();
    let elastic = new.at("completionMode").text() == "Indexed"
        && new.at("completions").value == new.at("parallelism").value;
    if !elastic {
        new.at("completions").unchanged(&old.at("completions"), &mut errors);
    }
    new.at("selector").unchanged(&old.at("selector"), &mut errors);
    // Before it starts, a queue may still say where its pods go.
    if !old.at("suspend").truth() {
        new.at("template").unchanged(&old.at("template"), &mut errors);
    }
    for field in ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"]
    {
        new.at(field).unchanged(&old.at(field), &mut errors);
    }
    errors
}

fn default_cron_job(object: &mut Object) {
    let Some(spec) = fill::object(object, "spec") else { return };
    fill::text(spec, "concurrencyPolicy", "Allow");
    fill::value(spec, "suspend", false);
    fill::value(spec, "successfulJobsHistoryLimit", 3);
    fill::value(spec, "failedJobsHistoryLimit", 1);
    if let Some(job) = fill::object(spec, "jobTemplate")
        && let Some(job_spec) = fill::object(job, "spec")
    {
        template::default_in(job_spec);
    }
}

fn validate_cron_job(object: &Object) -> Errors {
    let mut errors = Errors::new();
    if object.name().len() > CRON_NAME_MAX {
        let detail = model::names::too_long(CRON_NAME_MAX);
        errors.push(FieldError::invalid("metadata.name", object.name(), detail));
    }
    let spec = Field::of(object, "spec");
    let schedule = spec.at("schedule");
    match schedule.text() {
        "" => errors.push(schedule.required("")),
        text => errors.extend(wrong_schedule(text).map(|why| schedule.invalid(why))),
    }
    spec.at("concurrencyPolicy").one_of(&["Allow", "Forbid", "Replace"], &mut errors);
    for field in ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        spec.at(field).not_negative(&mut errors);
    }
    let job = spec.at("jobTemplate").at("spec");
    if job.at("manualSelector").is_set() {
        errors.push(job.at("manualSelector").not_supported(&["nil", "false"]));
    }
    validate_job_spec(&job, &mut errors);
    errors
}

/// What is wrong with a schedule: five fields of numbers, names, ranges, lists and steps, or a word with `@`.
fn wrong_schedule(text: &str) -> Option<String> {
    const WORDS: [&str; 7] =
        ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];
    if text.contains("TZ") {
        return Some("cannot use TZ or CRON_TZ in schedule, use timeZone field instead".to_owned());
    }
    if text.starts_with('@') {
        let known = WORDS.contains(&text) || text.starts_with("@every ");
        return (!known).then(|| format!("unrecognized descriptor: {text}"));
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != 5 {
        return Some(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    }
    const ENDS: [(u32, u32); 5] = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)];
    let broken =
        fields.iter().zip(ENDS).find(|(field, ends)| !field.split(',').all(|part| is_cron_part(part, *ends)));
    broken.map(|(field, _)| format!("failed to parse {field}: expected numbers, ranges or steps in bounds"))
}

fn is_cron_part(part: &str, (low, high): (u32, u32)) -> bool {
    let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
    let is_step = step.is_none_or(|step| step.parse::<u32>().is_ok_and(|step| step > 0));
    let is_end = |end: &str| match end.parse::<u32>() {
        Ok(number) => (low..=high).contains(&number),
        Err(_) => end.len() == 3 && end.bytes().all(|byte| byte.is_ascii_alphabetic()),
    };
    let is_range = match range.split_once('-') {
        Some((from, to)) => is_end(from) && is_end(to),
        None => matches!(range, "*" | "?") || is_end(range),
    };
    is_range && is_step
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{headings, object, row, said};

    fn pi(change: Value) -> Object {
        let mut spec = json!({"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "i"}]}}});
        for (name, value) in change.as_object().expect("fields") {
            spec[name] = value.clone();
        }
        let mut job = object(json!({"metadata": {"name": "pi", "uid": "u"}, "spec": spec}));
        default_job(&mut job);
        prepare_job(&mut job);
        job
    }

    #[test]
    fn a_job_runs_once_and_selects_by_its_uid() {
        let job = pi(json!({}));
        let at = |field: &str| job.at(&["spec", field]).cloned().expect("a default");
        assert_eq!(
            (at("completions"), at("parallelism"), at("backoffLimit")),
            (json!(1), json!(1), json!(6))
        );
        assert_eq!(at("selector"), json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}}));
        assert_eq!(at("template")["metadata"]["labels"]["batch.kubernetes.io/job-name"], "pi");
        assert_eq!(said(validate_job(&job)), "");
        assert_eq!(pi(json!({"parallelism": 3})).at(&["spec", "completions"]), None);
    }

    #[test]
    fn a_job_ends() {
        let for_ever = json!({"template": {"spec": {"containers": [{"name": "a", "image": "i"}]}}});
        assert_eq!(
            said(validate_job(&pi(for_ever))),
            "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""
        );
        let (old, new) = (pi(json!({})), pi(json!({"completions": 2})));
        assert_eq!(
            said(validate_job_update(&new, &old)),
            "spec.completions: Invalid value: 2: field is immutable"
        );
    }

    #[test]
    fn columns() {
        let mut job = pi(json!({}));
        job.set(&["status"], json!({"startTime": "2026-01-02T11:59:50Z"}));
        assert_eq!(
            headings(&super::job()),
            "Name | Status | Completions | Duration | Age | (Containers) | (Images) | (Selector)"
        );
        let selector = "batch.kubernetes.io/controller-uid=u";
        assert_eq!(
            row(&super::job(), &job),
            format!("pi | Running | 0/1 | 10s | <unknown> | a | i | {selector}")
        );
        job.set(
            &["status"],
            json!({"startTime": "2026-01-02T11:59:50Z", "completionTime": "2026-01-02T11:59:55Z",
            "succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]}),
        );
        assert!(row(&super::job(), &job).starts_with("pi | Complete | 1/1 | 5s | "));
    }

    #[test]
    fn a_schedule_has_five_fields() {
        for good in ["*/5 * * * *", "0 0 1,15 * MON-FRI", "@daily", "@every 5m", "0 0 * * 7"] {
            assert_eq!(wrong_schedule(good), None, "{good}");
        }
        for bad in ["* * * *", "@never", "60 * * * *", "*/0 * * * *", "a * * * *", "TZ=UTC * * * * *"] {
            assert!(wrong_schedule(bad).is_some(), "{bad}");
        }
        assert_eq!(wrong_schedule("x").as_deref(), Some("expected exactly 5 fields, found 1: [x]"));
    }

    #[test]
    fn a_cron_job_has_a_short_name_and_its_defaults() {
        let template = pi(json!({})).at(&["spec", "template"]).cloned().expect("a template");
        let mut cron = object(json!({"metadata": {"name": "x".repeat(53)},
            "spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": template}}}}));
        default_cron_job(&mut cron);
        assert_eq!(cron.str_at(&["spec", "concurrencyPolicy"]), "Allow");
        assert_eq!(
            said(validate_cron_job(&cron)),
            format!(
                "metadata.name: Invalid value: \"{}\": must be no more than 52 characters",
                "x".repeat(53)
            )
        );
        cron.set(&["metadata", "name"], "c");
        assert!(
            row(&cron_job(), &cron)
                .starts_with("c | @daily | <none> | False | 0 | <none> | <unknown> | a | i | ")
        );
    }
}
