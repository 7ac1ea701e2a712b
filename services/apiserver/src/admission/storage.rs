//! Storage that is in use stays, a claim that names no class gets the default one, and only what its class lets grow
//! grows.

use kinds::storage;
use model::quantity::Quantity;
use model::{Object, Status};
use serde_json::{Value, json};
use store::Op;

use super::{Operation, Request};

const CLAIMS: &str = "persistentvolumeclaims";
const VOLUMES: &str = "persistentvolumes";
/// Taken away by the volume controller once no pod uses the claim.
const CLAIM_PROTECTION: &str = "kubernetes.io/pvc-protection";
/// Taken away by the volume controller once no claim has the volume.
const VOLUME_PROTECTION: &str = "kubernetes.io/pv-protection";
/// Where old manifests name the class.
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

/// Protects new claims and volumes, and gives a class to claims that name none.
pub fn mutate(request: &Request<'_>, object: &mut Object, _: &mut Vec<Op>) -> Result<(), Status> {
    if request.operation != Operation::Create {
        return Ok(());
    }
    if request.is_about_whole("", VOLUMES) {
        protect(object, VOLUME_PROTECTION);
    } else if request.is_about_whole("", CLAIMS) {
        protect(object, CLAIM_PROTECTION);
        if object.at(&["spec", "storageClassName"]).is_none() && annotated_class(object).is_empty() {
            let classes = request.view.list("storage.k8s.io", "storageclasses");
            if let Some(class) = storage::default_class(&classes) {
                object.set(&["spec", "storageClassName"], class.name());
            }
        }
    }
    Ok(())
}

/// Refuses a claim that wants to grow when its class does not let it.
pub fn validate(request: &Request<'_>, claim: &Object) -> Result<(), Status> {
    let Some(old) = request.old.filter(|_| request.operation == Operation::Update) else { return Ok(()) };
    if !request.is_about_whole("", CLAIMS) || !grows(claim, old) {
        return Ok(());
    }
    let class = request.view.get("storage.k8s.io", "storageclasses", "", class_of(claim));
    let allows = |class: &Object| class.get("allowVolumeExpansion") == Some(&Value::Bool(true));
    if class.as_ref().is_some_and(allows) {
        return Ok(());
    }
    let why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must \
               support resize";
    Err(request.forbidden(claim, why))
}

fn protect(object: &mut Object, finalizer: &str) {
    if object.finalizers().any(|one| one == finalizer) {
        return;
    }
    let finalizers: Vec<String> =
        object.finalizers().map(str::to_owned).chain([finalizer.to_owned()]).collect();
    object.set(&["metadata", "finalizers"], json!(finalizers));
}

fn annotated_class(claim: &Object) -> &str {
    claim.str_at(&["metadata", "annotations", CLASS_ANNOTATION])
}

fn class_of(claim: &Object) -> &str {
    match annotated_class(claim) {
        "" => claim.str_at(&["spec", "storageClassName"]),
        class => class,
    }
}

fn grows(new: &Object, old: &Object) -> bool {
    let size = |claim: &Object| {
        Quantity::parse(claim.str_at(&["spec", "resources", "requests", "storage"])).map(|size| size.value())
    };
    matches!((size(new), size(old)), (Ok(new), Ok(old)) if new > old)
}
