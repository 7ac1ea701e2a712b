//! `/livez`, `/readyz` and `/healthz`, with a line for each check when asked with `verbose`.

use std::collections::BTreeMap;

use http::{Response, StatusCode};

use super::body::Body;
use super::query::Query;
use super::respond;
use super::state::State;

/// A check by name, with why it fails unless it passes.
type Checks = BTreeMap<String, Option<String>>;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    Livez,
    Readyz,
    Healthz,
}

/// The answer for a path below one of the three; `None` for any other path or an unknown check.
pub fn answer(state: &State, path: &str, query: &Query) -> Option<Response<Body>> {
    let (probe, check) = split(path)?;
    let checks = checks(state, probe);
    let checks = match check {
        "" => checks,
        name => BTreeMap::from([(name.to_owned(), checks.get(name)?.clone())]),
    };
    let excluded: Vec<&str> = query.all("exclude").collect();
    let (healthy, report) = report(probe, &checks, &excluded);
    Some(match (healthy, query.first("verbose").is_some()) {
        (true, false) => respond::text(StatusCode::OK, "ok"),
        (true, true) => respond::text(StatusCode::OK, report),
        (false, _) => respond::text(StatusCode::INTERNAL_SERVER_ERROR, report),
    })
}

fn split(path: &str) -> Option<(Probe, &str)> {
    let (name, check) = path.trim_matches('/').split_once('/').unwrap_or((path.trim_matches('/'), ""));
    let probe = match name {
        "livez" => Probe::Livez,
        "readyz" => Probe::Readyz,
        "healthz" => Probe::Healthz,
        _ => return None,
    };
    Some((probe, check))
}

fn checks(state: &State, probe: Probe) -> Checks {
    let mut checks = BTreeMap::from([("ping".to_owned(), None)]);
    // A process that waits for the bus is alive: a restart would not help it.
    if probe != Probe::Livez {
        checks.extend(state.readiness.report());
    }
    if probe == Probe::Readyz {
        let ending = state.shutdown.is_cancelled().then(|| "the server is ending".to_owned());
        checks.insert("shutdown".to_owned(), ending);
    }
    checks
}

fn report(probe: Probe, checks: &Checks, excluded: &[&str]) -> (bool, String) {
    let mut text = String::new();
    let mut healthy = true;
    for (name, why) in checks {
        let line = match why {
            _ if excluded.contains(&name.as_str()) => format!("[+]{name} excluded: ok\n"),
            None => format!("[+]{name} ok\n"),
            Some(why) => {
                healthy = false;
                format!("[-]{name} failed: {why}\n")
            }
        };
        text.push_str(&line);
    }
    let name = match probe {
        Probe::Livez => "livez",
        Probe::Readyz => "readyz",
        Probe::Healthz => "healthz",
    };
    text.push_str(&format!("{name} check {}\n", if healthy { "passed" } else { "failed" }));
    (healthy, text)
}

#[cfg(test)]
mod tests {
    use runtime::{Readiness, Shutdown};

    use super::*;

    #[test]
    fn ready_is_what_every_condition_says_and_alive_is_not() {
        let readiness = Readiness::new();
        let store = readiness.condition("store");
        let state = State::new(readiness, Shutdown::new(), None);
        let code = |path: &str, query: &str| {
            answer(&state, path, &Query::parse(Some(query))).map(|response| response.status().as_u16())
        };
        assert_eq!(code("/livez", ""), Some(200));
        assert_eq!(code("/readyz", ""), Some(500));
        assert_eq!(code("/readyz/ping", ""), Some(200));
        assert_eq!(code("/readyz/store", ""), Some(500));
        assert_eq!(code("/readyz", "exclude=store"), Some(200));
        assert_eq!(code("/readyz/nothing", ""), None);
        assert_eq!(code("/ready", ""), None);
        store.set_ready();
        assert_eq!(code("/readyz", "verbose"), Some(200));
        state.shutdown.cancel();
        assert_eq!(code("/readyz", ""), Some(500));
        assert_eq!(code("/livez", ""), Some(200));
    }

    #[test]
    fn the_report_has_a_line_for_each_check() {
        let checks = BTreeMap::from([("bus".to_owned(), Some("gone".to_owned())), ("ping".to_owned(), None)]);
        let expected = (false, "[-]bus failed: gone\n[+]ping ok\nreadyz check failed\n".to_owned());
        assert_eq!(report(Probe::Readyz, &checks, &[]), expected);
        let expected = (true, "[+]bus excluded: ok\n[+]ping ok\nlivez check passed\n".to_owned());
        assert_eq!(report(Probe::Livez, &checks, &["bus"]), expected);
    }
}
