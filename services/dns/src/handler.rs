//! Requests as they come over UDP and TCP.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use hickory_server::net::runtime::Time;
use hickory_server::proto::op::{Edns, MessageType, Metadata, OpCode, ResponseCode};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use parking_lot::RwLock;
use tracing::debug;

use crate::answer::{Answer, answer};
use crate::metrics;
use crate::upstream::Upstream;
use crate::zone::Zone;

/// What a client may get in one packet, whatever more it says it can take: larger ones are lost in pieces.
const PAYLOAD_MAX: u16 = 1232;
const PAYLOAD_MIN: u16 = 512;

/// Answers from the zone and from upstream.
#[derive(Clone, Debug)]
pub struct Handler {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    zone: RwLock<Zone>,
    /// Until everything was read once, a name that is not there may be.
    is_complete: AtomicBool,
    upstream: Upstream,
    turn: AtomicUsize,
}

// === impl Handler ===

impl Handler {
    /// With an empty zone.
    pub fn new(zone: Zone, upstream: Upstream) -> Handler {
        let shared = Shared {
            zone: RwLock::new(zone),
            is_complete: AtomicBool::new(false),
            upstream,
            turn: AtomicUsize::new(0),
        };
        Handler { shared: Arc::new(shared) }
    }

    /// The zone, for the one who writes it.
    pub fn zone(&self) -> &RwLock<Zone> {
        &self.shared.zone
    }

    /// From now on what the zone does not know is not there.
    pub fn set_complete(&self) {
        self.shared.is_complete.store(true, Ordering::Release);
    }

    async fn answer(&self, request: &Request) -> Answer {
        if request.metadata.op_code != OpCode::Query || request.metadata.message_type != MessageType::Query {
            return Answer::new(ResponseCode::NotImp, false);
        }
        let Ok(info) = request.request_info() else { return Answer::new(ResponseCode::FormErr, false) };
        if !self.shared.is_complete.load(Ordering::Acquire) {
            return Answer::new(ResponseCode::ServFail, false);
        }
        let dnssec = request.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok);
        let turn = self.shared.turn.fetch_add(1, Ordering::Relaxed);
        answer(&self.shared.zone, &self.shared.upstream, info.query.original(), dnssec, turn).await
    }
}

#[async_trait::async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut responses: R,
    ) -> ResponseInfo {
        let began = Instant::now();
        let answer = self.answer(request).await;
        let whose = if answer.is_ours { "cluster" } else { "upstream" };
        metrics::REQUESTS.with_label_values(&[whose, &format!("{:?}", answer.code)]).inc();
        metrics::SECONDS.with_label_values(&[whose]).observe(began.elapsed().as_secs_f64());

        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = answer.code;
        metadata.authoritative = answer.is_ours;
        metadata.recursion_available = true;
        let edns = request.edns.as_ref().map(|asked| {
            let mut edns = Edns::new();
            edns.set_max_payload(asked.max_payload().clamp(PAYLOAD_MIN, PAYLOAD_MAX));
            edns.set_dnssec_ok(asked.flags().dnssec_ok);
            edns
        });
        let response = MessageResponseBuilder::new(&request.queries, edns.as_ref()).build(
            metadata,
            &answer.answers,
            &answer.authorities,
            [],
            &answer.additionals,
        );
        match responses.send_response(response).await {
            Ok(info) => info,
            Err(error) => {
                // The client is gone, or asks again.
                debug!("cannot answer {}: {error}", request.src());
                ResponseInfo::from(hickory_server::proto::op::Header {
                    metadata,
                    counts: hickory_server::proto::op::HeaderCounts::default(),
                })
            }
        }
    }
}
