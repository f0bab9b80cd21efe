//! A credential provider, as a vendor would write one: built by a test, run by surepull.
//!
//! Arguments: a file in which each request is noted, the `cacheKeyType` of the answer, and the user name. The password is
//! in the environment.

use std::io::Write as _;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, cache_key_type, username] = &*arguments else {
        panic!("three arguments");
    };
    let password = std::env::var("PROVIDER_PASSWORD").expect("a password");
    let request = std::io::read_to_string(std::io::stdin()).expect("a request");
    assert_eq!(text(&request, "kind"), "CredentialProviderRequest");
    let api_version = text(&request, "apiVersion");
    let image = text(&request, "image");
    let registry = image.split('/').next().unwrap_or(image);
    let mut file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(file)
        .expect("a file");
    writeln!(file, "{api_version} {image}").expect("a note");
    println!(
        r#"{{"kind": "CredentialProviderResponse", "apiVersion": "{api_version}", "cacheKeyType": "{cache_key_type}",
            "cacheDuration": "1h", "auth": {{"{registry}": {{"username": "{username}", "password": "{password}"}}}}}}"#
    );
}

/// A text of a JSON object, none of which has quotes in it.
fn text<'r>(object: &'r str, key: &str) -> &'r str {
    let key = format!("\"{key}\":");
    let (_, rest) = object.split_once(&key).expect("the key");
    rest.split('"').nth(1).expect("a text")
}
