//! Owns what a backend answers to one call, and when; how badly is told by its house.

use std::rc::Rc;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request, Response};

use super::super::backends::Fate;
use super::super::cause::Cause;
use super::super::wire::{Mark, tag};
use super::batch::{self, Batch};
use super::reply::{self, MARK};
use super::serve::Visit;
use super::status;

/// Answers one call. What goes wrong on the way is seen, and counted, by the agent.
pub async fn answer(
    visit: Rc<Visit>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let stage = &visit.house.stage;
    let (head, mut stream) = request.into_parts();
    let reading = stage.unless_over(reply::read(&mut stream)).await;
    let Some(Ok(body)) = reading else { return };
    let path = head.uri.path();
    if Some(path) == visit.service.health() {
        return accept(&mut respond, None).unwrap_or_default();
    }
    if path != visit.service.path() {
        return refuse(&mut respond, status::UNIMPLEMENTED).unwrap_or_default();
    }
    let Ok(batch) = batch::decode(visit.service, &body) else {
        stage.recorder.borrow_mut().error(Cause::Malformed, stage.now());
        return refuse(&mut respond, status::INVALID_ARGUMENT).unwrap_or_default();
    };
    visit.house.take_events(batch.first, batch.events, batch.intact);
    if stage.unless_over(work(&visit)).await.is_some() {
        // It is of no use to somebody who has left.
        decide(&visit, &batch, respond).unwrap_or_default();
    }
}

/// Takes the time that a call takes; those of one connection do not wait for each other.
async fn work(visit: &Visit) {
    let house = &visit.house;
    let came = house.stage.now();
    let time = house.behaviour.service.draw(&mut house.random.borrow_mut());
    if !time.is_zero() {
        house.stage.until(came + time.as_nanos() as u64).await;
        house.stand_still().await;
    }
}

fn decide(visit: &Visit, batch: &Batch, mut respond: SendResponse<Bytes>) -> Result<(), h2::Error> {
    // With streams of their own answers have no order, and there is one to each call.
    let fate = match visit.house.draw_fate() {
        Fate::Duplicate | Fate::Swap => Fate::Answer,
        fate => fate,
    };
    visit.house.struck(fate, batch.first.due);
    let corrupt = fate == Fate::Corrupt;
    match fate {
        Fate::Refuse => return refuse(&mut respond, status::UNAVAILABLE),
        Fate::Reset => respond.send_reset(Reason::INTERNAL_ERROR),
        Fate::Close => {
            visit.unanswered.borrow_mut().push(respond);
            visit.leave();
        }
        Fate::Drop => visit.unanswered.borrow_mut().push(respond),
        _ => return accept(&mut respond, Some((&batch.last(), corrupt))),
    }
    Ok(())
}

/// A good answer, which says what it has heard up to; where that is `corrupt`, not quite.
fn accept(respond: &mut SendResponse<Bytes>, to: Option<(&Mark, bool)>) -> Result<(), h2::Error> {
    let mut response = Response::new(());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    if let Some((mark, corrupt)) = to {
        let mut text = Vec::new();
        tag::append(mark, 0, &mut text);
        if let Some(digit) = text.last_mut().filter(|_| corrupt) {
            *digit = if *digit == b'0' { b'1' } else { b'0' };
        }
        // Letters and digits are fit for a header.
        if let Ok(text) = HeaderValue::from_bytes(&text) {
            headers.insert(MARK, text);
        }
    }
    let mut body = respond.send_response(response, false)?;
    body.send_data(Bytes::from_static(&batch::NOTHING), false)?;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", status::value(status::OK));
    body.send_trailers(trailers)
}

/// An answer that consists of its status alone.
fn refuse(respond: &mut SendResponse<Bytes>, status: u32) -> Result<(), h2::Error> {
    let mut response = Response::new(());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", status::value(status));
    headers.insert("grpc-message", status::sentence(status));
    respond.send_response(response, true).map(drop)
}
