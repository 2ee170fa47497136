//! Owns what an agent hears of one call: its status and its message, from whichever of headers and
//! trailers they are in. What becomes of it is decided elsewhere.

use h2::RecvStream;
use h2::client::ResponseFuture;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};

use super::super::cause::Cause;
use super::super::wire::{Mark, tag};
use super::batch;
use super::status::{self, Broken};

/// What was answered to a call.
#[derive(Debug)]
pub struct Reply {
    pub status: u32,
    /// The message with its length before it; empty if there is none.
    pub body: Vec<u8>,
    /// The last event that the backend has heard, if it is ours, and whether that mark is intact.
    pub mark: Option<(Mark, bool)>,
}

impl Reply {
    /// Waits for all of it.
    pub async fn hear(response: ResponseFuture) -> Result<Reply, Broken> {
        let response = response.await?;
        if response.status() != StatusCode::OK {
            // Whoever answered does not speak gRPC: a proxy, as a rule.
            return Err(Broken::Stream(Cause::Rejected));
        }
        let (head, mut stream) = response.into_parts();
        let kind = head.headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes());
        if !kind.is_some_and(|kind| kind.starts_with(b"application/grpc")) {
            return Err(Broken::Stream(Cause::Malformed));
        }
        let mark = mark_of(&head.headers).map_err(Broken::Stream)?;
        let early = status::of(&head.headers).map_err(Broken::Stream)?;
        let body = read(&mut stream).await?;
        let trailers = stream.trailers().await?.unwrap_or_default();
        let late = status::of(&trailers).map_err(Broken::Stream)?;
        let status = early.or(late).ok_or(Broken::Stream(Cause::Malformed))?;
        Ok(Reply { status, body, mark })
    }

    /// Its content; none where there is no message.
    pub fn content(&self) -> Result<Option<&[u8]>, Cause> {
        match &self.body[..] {
            [] => Ok(None),
            body => batch::content(body).map(Some).map_err(|_| Cause::Malformed),
        }
    }
}

/// All of a body, whose room is given back as it comes.
pub async fn read(stream: &mut RecvStream) -> Result<Vec<u8>, Broken> {
    let mut body = Vec::new();
    while let Some(part) = stream.data().await {
        let part = part?;
        stream.flow_control().release_capacity(part.len())?;
        if body.len() + part.len() > LONGEST {
            return Err(Broken::Stream(Cause::Malformed));
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}

fn mark_of(headers: &HeaderMap) -> Result<Option<(Mark, bool)>, Cause> {
    let Some(value) = headers.get(MARK) else { return Ok(None) };
    tag::find(value.as_bytes(), 0).map(Some).ok_or(Cause::Malformed)
}

/// The header in which our backends say what they have heard.
pub const MARK: &str = "x-mark";
/// As much as gRPC's own receivers take by default is 4 MiB; the longest unit has 1 MiB.
const LONGEST: usize = 4 << 20;
