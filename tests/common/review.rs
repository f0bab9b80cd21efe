//! Reviews of Pods over HTTPS, by the real binary.

use serde_json::{Value, json};

use super::serve::Served;

/// A Pod with these images, by containers `c0`, `c1`, …
pub fn pod(images: &[&str]) -> Value {
    let container = |(index, image): (usize, &&str)| json!({"name": format!("c{index}"), "image": image, "imagePullPolicy": "IfNotPresent"});
    let containers: Vec<Value> = images.iter().enumerate().map(container).collect();
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": containers}})
}

/// The answer to a review that has a second, `response`.
pub async fn reviewed(
    served: &Served,
    object: &Value,
    old: Option<&Value>,
    dry_run: bool,
) -> Value {
    let operation = if old.is_some() { "UPDATE" } else { "CREATE" };
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u", "operation": operation, "namespace": "ns", "object": object, "oldObject": old,
        "kind": {"group": "", "version": "v1", "kind": "Pod"}, "dryRun": dry_run,
        "resource": {"group": "", "version": "v1", "resource": "pods"},
    }});
    let (status, body) = served.post("/mutate?timeout=2s", review.to_string()).await;
    assert_eq!(status, 200);
    let mut answer: Value = serde_json::from_slice(&body).unwrap();
    answer["response"].take()
}
