//! From a question to its records: ours from the zone, others' from upstream, and aliases that lead from one to the
//! other.

use hickory_server::proto::op::{Query, ResponseCode};
use hickory_server::proto::rr::rdata::{A, CNAME, PTR, SOA, SRV, TXT};
use hickory_server::proto::rr::{DNSClass, Name, RData, Record, RecordType};
use parking_lot::RwLock;
use tracing::debug;

use crate::upstream::Upstream;
use crate::zone::{Data, Found, Kind, Zone};

/// How long others may remember, in seconds: names follow pods that come and go.
const TTL: u32 = 5;
/// Aliases that lead to aliases; more are a circle.
const ALIASES_MAX: usize = 8;

/// What is answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// How it went.
    pub code: ResponseCode,
    /// Whether the name is ours.
    pub is_ours: bool,
    /// What was asked for.
    pub answers: Vec<Record>,
    /// Who would know of what is not there.
    pub authorities: Vec<Record>,
    /// What will be asked for next.
    pub additionals: Vec<Record>,
}

/// Answers `query`. `turn` moves the addresses of a name around, so that clients that take the first share them.
pub async fn answer(
    zone: &RwLock<Zone>,
    upstream: &Upstream,
    query: &Query,
    dnssec: bool,
    turn: usize,
) -> Answer {
    let mut answer = Answer::new(ResponseCode::NoError, true);
    let mut name = query.name().clone();
    for _ in 0..ALIASES_MAX {
        let found = match (plain(&name), query.query_class()) {
            (Some(text), DNSClass::IN) => zone.read().ask(&text, kind_of(query.query_type())),
            _ => Found::NotOurs,
        };
        match found {
            Found::Data(data) => {
                answer.add(zone, &name, query.query_type(), data, turn);
                return answer;
            }
            Found::NoName => {
                answer.code = ResponseCode::NXDomain;
                answer.authorities.extend(soa(&zone.read()));
                return answer;
            }
            Found::Alias(target) => {
                let Ok(target) = absolute(&target) else { break };
                answer.answers.push(record(&name, RData::CNAME(CNAME(target.clone()))));
                if query.query_type() == RecordType::CNAME {
                    return answer;
                }
                name = target;
            }
            Found::NotOurs => {
                answer.is_ours = !answer.answers.is_empty();
                answer.add_foreign(upstream, query, name, dnssec).await;
                return answer;
            }
        }
    }
    Answer::new(ResponseCode::ServFail, true)
}

// === impl Answer ===

impl Answer {
    /// Without any record.
    pub fn new(code: ResponseCode, is_ours: bool) -> Answer {
        Answer { code, is_ours, answers: Vec::new(), authorities: Vec::new(), additionals: Vec::new() }
    }

    fn add(&mut self, zone: &RwLock<Zone>, name: &Name, asked: RecordType, data: Vec<Data>, turn: usize) {
        let count = data.len();
        let mut answers: Vec<Record> = Vec::with_capacity(count);
        for one in data {
            let data = match one {
                Data::Address(address) => RData::A(A(address)),
                Data::Text(text) => RData::TXT(TXT::new(vec![text])),
                Data::Name(target) => match absolute(&target) {
                    Ok(target) => RData::PTR(PTR(target)),
                    Err(()) => continue,
                },
                Data::Port { target, port, address } => {
                    let Ok(target) = absolute(&target) else { continue };
                    self.additionals.push(record(&target, RData::A(A(address))));
                    RData::SRV(SRV::new(0, weight(count), port, target))
                }
            };
            answers.push(record(name, data));
        }
        if !answers.is_empty() {
            let turn = turn % answers.len();
            answers.rotate_left(turn);
        } else if let Some(soa) = soa(&zone.read()) {
            let is_origin = plain(name).is_some_and(|name| name == zone.read().origin());
            let asked_for = is_origin && asked == RecordType::SOA;
            if asked_for { &mut answers } else { &mut self.authorities }.push(soa);
        }
        self.answers.extend(answers);
    }

    async fn add_foreign(&mut self, upstream: &Upstream, query: &Query, name: Name, dnssec: bool) {
        let mut foreign = query.clone();
        foreign.set_name(name);
        match upstream.ask(&foreign, dnssec).await {
            Ok(message) => {
                self.code = message.metadata.response_code;
                self.answers.extend(message.answers);
                self.authorities = message.authorities;
                self.additionals = message.additionals;
            }
            Err(error) => {
                debug!(name = %foreign.name(), "{error}");
                *self = Answer::new(ResponseCode::ServFail, false);
            }
        }
    }
}

/// Each of so many has the same part.
fn weight(count: usize) -> u16 {
    const WHOLE: usize = 100;
    u16::try_from((WHOLE / count.max(1)).max(1)).unwrap_or(1)
}

fn kind_of(asked: RecordType) -> Kind {
    match asked {
        RecordType::A => Kind::A,
        RecordType::SRV => Kind::Srv,
        RecordType::PTR => Kind::Ptr,
        RecordType::TXT => Kind::Txt,
        _ => Kind::Other,
    }
}

fn record(name: &Name, data: RData) -> Record {
    Record::from_rdata(name.clone(), TTL, data)
}

/// What stands for names that are not there; it says for how long to believe it.
fn soa(zone: &Zone) -> Option<Record> {
    const REFRESH: i32 = 7_200;
    const RETRY: i32 = 1_800;
    const EXPIRE: i32 = 86_400;
    let origin = absolute(zone.origin()).ok()?;
    let at = |label: &str| absolute(&format!("{label}.{}", zone.origin())).ok();
    let soa = SOA::new(at("ns.dns")?, at("hostmaster")?, zone.serial(), REFRESH, RETRY, EXPIRE, TTL);
    Some(record(&origin, RData::SOA(soa)))
}

/// A name that ends at the root. An alias may lead to what is none.
fn absolute(text: &str) -> Result<Name, ()> {
    let mut name = Name::from_ascii(text).map_err(|_| ())?;
    name.set_fqdn(true);
    Ok(name)
}

/// The name in lower case without the last dot; `None` for one that no name of ours can be.
fn plain(name: &Name) -> Option<String> {
    let mut text = String::with_capacity(name.len());
    for label in name.iter() {
        if !label.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
            return None;
        }
        if !text.is_empty() {
            text.push('.');
        }
        text.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
    }
    Some(text)
}
