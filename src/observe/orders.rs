//! Owns what the admin server lets an operator change: `POST /pools/POOL/backends/BACKEND/drain`
//! and `.../ready`. Says who may and how it is answered; carries nothing out (`control` does).
//!
//! A page that the operator has open in a browser must not be able to give an order, although the
//! browser reaches addresses that its author does not. So an order has to be `application/json`,
//! for which browsers first ask whether pages of elsewhere may send it, and are not told that
//! they may; and it must not have an `Origin`, which browsers add to every order of a page, also
//! when the page's name leads to this address by a trick of DNS, and command lines do not.

use super::inquiry::{DrainOrder, Drained, Inquirer};
use super::pools_page;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Bytes};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderMap, HeaderValue, ORIGIN};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// From where orders are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AllowChanges {
    /// From this host alone, whatever address is listened on.
    #[default]
    Loopback,
    /// From whoever can connect.
    All,
    Off,
}

impl AllowChanges {
    fn allows(self, client: IpAddr) -> bool {
        match self {
            AllowChanges::Loopback => client.to_canonical().is_loopback(),
            AllowChanges::All => true,
            AllowChanges::Off => false,
        }
    }
}

/// The order that a path means, if it is the path of one. What it names may not be there.
pub(super) fn order(path: &str) -> Option<DrainOrder> {
    let mut parts = path.strip_prefix("/pools/")?.split('/');
    let (pool, backends, backend) = (parts.next()?, parts.next()?, parts.next()?);
    let drain = match parts.next()? {
        "drain" => true,
        "ready" => false,
        _ => return None,
    };
    let is_order = backends == "backends" && parts.next().is_none();
    is_order.then_some(DrainOrder { pool: decoded(pool)?, backend: decoded(backend)?, drain })
}

/// Has an order carried out, if it may be given so, and says what has come of it.
pub(super) async fn obey<B>(
    order: DrainOrder,
    request: Request<B>,
    client: SocketAddr,
    (allowed, control): (AllowChanges, &Inquirer),
) -> Response<Full<Bytes>>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if *request.method() != Method::POST {
        let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, "an order is given with POST");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    if let Err((status, why)) = permitted(request.headers(), client.ip(), allowed) {
        return refusal(status, why);
    }
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await;
    let is_bare = body.is_ok_and(|body| says_nothing(&body.to_bytes()));
    if !is_bare {
        return refusal(StatusCode::BAD_REQUEST, "an order has no body, or {}");
    }
    let word = if order.drain { "drain" } else { "ready" };
    tracing::info!(%client, pool = &*order.pool, backend = &*order.backend, "told: {word}");
    match control.order(order.clone()).await {
        Some(drained) => outcome(&order, &drained),
        None => refusal(StatusCode::SERVICE_UNAVAILABLE, "the control plane has ended"),
    }
}

/// Whether the client may give orders, and certainly means to.
fn permitted(
    headers: &HeaderMap,
    client: IpAddr,
    allowed: AllowChanges,
) -> Result<(), (StatusCode, &'static str)> {
    if !allowed.allows(client) {
        let why = match allowed {
            AllowChanges::Off => "orders are switched off by admin.allow_changes",
            _ => {
                "orders are taken from this host alone; ask there, or set admin.allow_changes to \
                 \"all\""
            }
        };
        return Err((StatusCode::FORBIDDEN, why));
    }
    if headers.contains_key(ORIGIN) {
        let why = "orders are not taken from pages in browsers; ask without an Origin header";
        return Err((StatusCode::FORBIDDEN, why));
    }
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.and_then(|value| value.split(';').next());
    match media_type {
        Some(json) if json.trim().eq_ignore_ascii_case("application/json") => Ok(()),
        _ => Err((
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "an order has the header content-type: application/json, which keeps pages in \
             browsers from giving any",
        )),
    }
}

/// Nothing may stand there that would not be heeded.
fn says_nothing(body: &[u8]) -> bool {
    body.trim_ascii().is_empty()
        || serde_json::from_slice::<Value>(body).is_ok_and(|value| value == json!({}))
}

fn outcome(order: &DrainOrder, drained: &Drained) -> Response<Full<Bytes>> {
    let DrainOrder { pool, backend, drain } = order;
    match drained {
        Drained::Now { at, backend } => {
            let mut answer = pools_page::backend(backend, *at);
            answer["pool"] = json!(**pool);
            response(StatusCode::OK, &answer)
        }
        Drained::WhenItReturns => {
            let state = if *drain { "draining" } else { "ready" };
            let why = format!("it is not in the pool now, and is {state} when it comes back");
            let answer = json!({ "pool": **pool, "backend": **backend, "state": null, "why": why });
            response(StatusCode::OK, &answer)
        }
        Drained::NoSuchPool => {
            let why = format!("no pool is named {pool:?}; /pools shows those there are");
            refusal(StatusCode::NOT_FOUND, &why)
        }
        Drained::NoSuchBackend => {
            let why =
                format!("pool {pool} has no backend {backend:?} now; /pools shows those it has");
            refusal(StatusCode::NOT_FOUND, &why)
        }
    }
}

fn refusal(status: StatusCode, why: &str) -> Response<Full<Bytes>> {
    response(status, &json!({ "error": why }))
}

fn response(status: StatusCode, answer: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(format!("{answer:#}\n").into()));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// A part of a path, in which any byte may be written as `%` and two digits (RFC 3986, 2.1). None
/// if it is no text, or longer than any name.
fn decoded(part: &str) -> Option<Arc<str>> {
    let mut bytes = Vec::new();
    let mut rest = part.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        bytes.push(match byte {
            b'%' => {
                let (digits, after) = rest.split_at_checked(2)?;
                rest = after;
                let [high, low] = [digits[0], digits[1]].map(|it| char::from(it).to_digit(16));
                // Two digits of four bits make a byte.
                (high? << 4 | low?) as u8
            }
            byte => *byte,
        });
    }
    let name = String::from_utf8(bytes).ok()?;
    (!name.is_empty() && name.len() <= NAME_BYTES_MAX).then(|| name.into())
}

/// For `{}`, and what may stand around it.
const BODY_BYTES_MAX: usize = 256;

/// A domain name has 253 at most, and a port follows.
const NAME_BYTES_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &str) -> Option<(String, String, bool)> {
        let order = order(path)?;
        Some((order.pool.to_string(), order.backend.to_string(), order.drain))
    }

    #[test]
    fn a_path_names_pool_backend_and_word() {
        let named =
            |pool: &str, backend: &str, drain| Some((pool.to_owned(), backend.to_owned(), drain));
        assert_eq!(names("/pools/p/backends/10.0.0.1:1/drain"), named("p", "10.0.0.1:1", true));
        assert_eq!(names("/pools/a.b/backends/agg-0.x:1/ready"), named("a.b", "agg-0.x:1", false));
        let plain = names("/pools/p/backends/[fe80::1]:1/drain");
        assert_eq!(plain, named("p", "[fe80::1]:1", true));
        assert_eq!(names("/pools/p/backends/%5Bfe80::1%5d%3a1/drain"), plain);
        assert_eq!(
            names("/pools/p/backends/%5Bfe80::1%253%5D:1/ready").unwrap().1,
            "[fe80::1%3]:1"
        );
    }

    #[test]
    fn other_paths_name_nothing() {
        let long = format!("/pools/p/backends/{}/drain", "a".repeat(301));
        for path in [
            "/pools",
            "/pools/p",
            "/pools/p/backends",
            "/pools/p/backends/b",
            "/pools/p/backends/b/",
            "/pools/p/backends/b/drain/",
            "/pools/p/backends/b/drains",
            "/pools/p/backend/b/drain",
            "/pools//backends/b/drain",
            "/pools/p/backends//drain",
            "/pool/p/backends/b/drain",
            "/pools/p/backends/%/drain",
            "/pools/p/backends/%5/drain",
            "/pools/p/backends/%+5/drain",
            "/pools/p/backends/%ff/drain",
            &long,
        ] {
            assert_eq!(names(path), None, "{path}");
        }
    }

    #[test]
    fn only_who_is_allowed_and_no_page_may_give_orders() {
        let json = [("content-type", "application/json")];
        let check = |allowed, client: &str, headers: &[(&'static str, &'static str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(*name, HeaderValue::from_static(value));
            }
            permitted(&map, client.parse().unwrap(), allowed).map_err(|(status, _)| status.as_u16())
        };
        use AllowChanges::{All, Loopback, Off};
        for client in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(check(Loopback, client, &json), Ok(()), "{client}");
            assert_eq!(check(Off, client, &json), Err(403), "{client}");
        }
        for client in ["10.0.0.1", "fe80::1", "::ffff:10.0.0.1", "::"] {
            assert_eq!(check(Loopback, client, &json), Err(403), "{client}");
            assert_eq!(check(All, client, &json), Ok(()), "{client}");
        }
        for origin in ["http://evil.example", "null", "http://127.0.0.1:9600"] {
            let headers = [json[0], ("origin", origin)];
            assert_eq!(check(All, "127.0.0.1", &headers), Err(403), "{origin}");
        }
        for media_type in ["application/JSON; charset=utf-8", "application/json ;x"] {
            assert_eq!(check(All, "::1", &[("content-type", media_type)]), Ok(()));
        }
        // The three that a page may send without asking, and none.
        for media_type in
            ["text/plain", "multipart/form-data", "application/x-www-form-urlencoded", "json"]
        {
            assert_eq!(check(All, "::1", &[("content-type", media_type)]), Err(415));
        }
        assert_eq!(check(All, "::1", &[]), Err(415));
    }

    #[test]
    fn a_body_that_says_something_is_not_passed_over() {
        for body in ["", " \r\n", "{}", " { } \n"] {
            assert!(says_nothing(body.as_bytes()), "{body:?}");
        }
        for body in ["{\"sessions\": \"close\"}", "[]", "null", "x", "{"] {
            assert!(!says_nothing(body.as_bytes()), "{body:?}");
        }
    }
}
