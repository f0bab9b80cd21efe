//! A token service for the tests: it signs what the registry's token specification asks for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use rustls::ServerConfig;
use serde_json::{Value, json};

use super::faulty::TlsListener;

/// Who signs, and for whom.
pub const ISSUER: &str = "surepull-tests";
/// The service that the registry names in its challenges.
pub const SERVICE: &str = "registry.test";

const KEY_ID: &str = "test-key";

/// A running token service; it ends with the runtime.
pub struct TokenService {
    /// `http://127.0.0.1:PORT/token`, or with `https`.
    pub realm: String,
    state: Arc<Signer>,
}

struct Signer {
    key: EcdsaKeyPair,
    user: (String, String),
    requests: AtomicUsize,
    queries: Mutex<Vec<String>>,
    forms: Mutex<Vec<String>>,
}

impl TokenService {
    /// Starts a service that knows one user.
    pub async fn start(username: &str, password: &str, tls: Option<ServerConfig>) -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let state = Arc::new(Signer {
            key: EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap(),
            user: (username.to_owned(), password.to_owned()),
            requests: AtomicUsize::new(0),
            queries: Mutex::default(),
            forms: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let realm = format!("{scheme}://{}/token", listener.local_addr().unwrap());
        let routes = Router::new()
            .route("/token", get(token).post(refresh))
            .with_state(Arc::clone(&state));
        tokio::spawn(async move {
            match tls {
                None => axum::serve(listener, routes).await,
                Some(tls) => axum::serve(TlsListener::new(listener, tls), routes).await,
            }
        });
        Self { realm, state }
    }

    /// The realm's origin, to be named as an endpoint: the realm of a registry is not trusted for its sake.
    pub fn endpoint(&self) -> String {
        self.realm.trim_end_matches("/token").to_owned()
    }

    /// The key set that a registry needs to check the tokens.
    pub fn jwks(&self) -> Value {
        // An uncompressed point: 0x04, x, y.
        let (x, y) = self.state.key.public_key().as_ref()[1..].split_at(32);
        let [x, y] = [x, y].map(|coordinate| BASE64_URL_SAFE_NO_PAD.encode(coordinate));
        json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": KEY_ID, "use": "sig", "alg": "ES256", "x": x, "y": y}]})
    }

    /// How many tokens have been asked for.
    pub fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// The forms so far, as they were sent.
    pub fn forms(&self) -> Vec<String> {
        self.state.forms.lock().unwrap().clone()
    }

    /// The queries so far, as they were sent.
    pub fn queries(&self) -> Vec<String> {
        self.state.queries.lock().unwrap().clone()
    }
}

/// What the user may send in the place of user name and password.
pub const REFRESH_TOKEN: &str = "refresh me+/=";

/// A token for a refresh token, as OAuth 2 has it.
async fn refresh(State(signer): State<Arc<Signer>>, form: String) -> (StatusCode, String) {
    signer.requests.fetch_add(1, Ordering::SeqCst);
    signer.forms.lock().unwrap().push(form.clone());
    let field = |name: &str| {
        let mut pairs = form.split('&').filter_map(|pair| pair.split_once('='));
        let found = pairs.find(|(key, _)| *key == name);
        let value = found.map_or("", |(_, value)| value);
        ["%20 ", "%2B+", "%2F/", "%3D=", "%3A:", "%2C,"]
            .iter()
            .fold(value.to_owned(), |text, escape| {
                let (code, character) = escape.split_at(3);
                text.replace(code, character)
            })
    };
    if field("grant_type") != "refresh_token"
        || field("client_id").is_empty()
        || field("service") != SERVICE
    {
        return (
            StatusCode::BAD_REQUEST,
            json!({"error": "invalid_request"}).to_string(),
        );
    }
    if field("refresh_token") != REFRESH_TOKEN {
        let said = field("refresh_token");
        let answer = json!({"error": "invalid_grant", "error_description": said, "message": said, "details": said});
        return (StatusCode::BAD_REQUEST, answer.to_string());
    }
    let token = signer.sign(&field("scope"));
    let answer = json!({"access_token": token, "expires_in": 300, "refresh_token": "another"});
    (StatusCode::OK, answer.to_string())
}

/// Everybody gets a token; only the user's allows anything.
async fn token(
    State(signer): State<Arc<Signer>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> (StatusCode, String) {
    signer.requests.fetch_add(1, Ordering::SeqCst);
    let query = query.unwrap_or_default();
    signer.queries.lock().unwrap().push(query.clone());
    let (username, password) = &signer.user;
    let expected = format!(
        "Basic {}",
        BASE64_STANDARD.encode(format!("{username}:{password}"))
    );
    let allowed = match headers.get("authorization") {
        None => false,
        Some(given) if given.as_bytes() == expected.as_bytes() => true,
        Some(_) => {
            let answer = json!({"details": "incorrect username or password"});
            return (StatusCode::UNAUTHORIZED, answer.to_string());
        }
    };
    let scope = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("scope="))
        .unwrap_or_default();
    let scope = scope
        .replace("%3A", ":")
        .replace("%2F", "/")
        .replace("%2C", ",");
    let token = signer.sign(if allowed { &scope } else { "" });
    let answer = json!({"token": token, "expires_in": 300});
    (StatusCode::OK, answer.to_string())
}

impl Signer {
    /// A token that allows this; nothing where it is no scope.
    fn sign(&self, scope: &str) -> String {
        let access: Vec<Value> = match scope.split(':').collect::<Vec<_>>()[..] {
            [kind, name, actions] => {
                let actions: Vec<&str> = actions.split(',').collect();
                vec![json!({"type": kind, "name": name, "actions": actions})]
            }
            _ => vec![],
        };
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let claims = json!({
            "iss": ISSUER, "sub": self.user.0, "aud": SERVICE, "jti": now.to_string(),
            "iat": now, "nbf": now, "exp": now + 300, "access": access,
        });
        let header = json!({"typ": "JWT", "alg": "ES256", "kid": KEY_ID});
        let [header, claims] =
            [header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
        let message = format!("{header}.{claims}");
        let signature = self
            .key
            .sign(&SystemRandom::new(), message.as_bytes())
            .unwrap();
        format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}
