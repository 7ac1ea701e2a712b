//! A collector of traces in this process: what OTLP over HTTP brings, as a list of spans.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message;

/// A span that has ended.
#[derive(Clone, Debug)]
pub struct Seen {
    pub service: String,
    pub name: String,
    pub trace: Vec<u8>,
    pub span: Vec<u8>,
    /// Empty for the first of a trace.
    pub parent: Vec<u8>,
    attributes: Vec<(String, String)>,
}

/// Listens on loopback until the process ends.
#[derive(Clone, Debug, Default)]
pub struct Collector(Arc<Mutex<Vec<Seen>>>);

// === impl Collector ===

impl Collector {
    /// A collector, and its address as `http://host:port`.
    pub fn start() -> Result<(Collector, String)> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("cannot listen")?;
        let address = format!("http://{}", listener.local_addr()?);
        let collector = Collector::default();
        let shared = collector.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                // One that ends badly is the exporter's: it connects again.
                std::thread::spawn(move || drop(shared.serve(stream)));
            }
        });
        Ok((collector, address))
    }

    /// Every span so far.
    pub fn spans(&self) -> Vec<Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn serve(&self, mut stream: TcpStream) -> Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        while let Some(length) = head(&mut reader)? {
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            let request = ExportTraceServiceRequest::decode(body.as_slice())?;
            let spans = request.resource_spans.iter().flat_map(seen);
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(spans);
            stream.write_all(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n",
            )?;
        }
        Ok(())
    }
}

/// Reads the head of a request; returns how long its body is, or nothing at the end of the connection.
fn head(reader: &mut impl BufRead) -> Result<Option<usize>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse()?;
            }
            _ if line.trim_end().is_empty() => return Ok(Some(length)),
            _ => {}
        }
    }
}

fn seen(of: &ResourceSpans) -> Vec<Seen> {
    let attributes = of.resource.iter().flat_map(|resource| &resource.attributes).map(attribute);
    let service = attributes.into_iter().find(|(name, _)| name == "service.name");
    let service = service.map(|(_, name)| name).unwrap_or_default();
    let spans = of.scope_spans.iter().flat_map(|scope| &scope.spans);
    spans
        .map(|span| Seen {
            service: service.clone(),
            name: span.name.clone(),
            trace: span.trace_id.clone(),
            span: span.span_id.clone(),
            parent: span.parent_span_id.clone(),
            attributes: span.attributes.iter().map(attribute).collect(),
        })
        .collect()
}

fn attribute(pair: &KeyValue) -> (String, String) {
    let value = match &pair.value {
        Some(AnyValue { value: Some(Value::StringValue(text)) }) => text.clone(),
        _ => String::new(),
    };
    (pair.key.clone(), value)
}

// === impl Seen ===

impl Seen {
    /// An attribute, empty where it has none of that name.
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.iter().find(|(other, _)| other == name).map_or("", |(_, value)| value)
    }
}
