//! What an item of a batch asks to do, in the words of authorization.

use bus::command::{Resource as Named, Write};

use crate::authorization::{Attributes, Resource};

/// The verb and the object of an item.
pub fn attributes(item: &Write) -> Attributes<'_> {
    match item {
        Write::Create { resource, namespace, .. } => {
            Attributes::resource("create", object(resource, namespace, "", ""))
        }
        Write::Update { resource, namespace, name, subresource, .. } => {
            Attributes::resource("update", object(resource, namespace, name, subresource))
        }
        Write::Patch { resource, namespace, name, subresource, .. } => {
            Attributes::resource("patch", object(resource, namespace, name, subresource))
        }
        Write::Delete { resource, namespace, name, .. } => {
            Attributes::resource("delete", object(resource, namespace, name, ""))
        }
        Write::Bind { namespace, pod, .. } => {
            let binding =
                Resource { resource: "pods", subresource: "binding", namespace, name: pod, group: "" };
            Attributes::resource("create", binding)
        }
    }
}

fn object<'a>(resource: &'a Named, namespace: &'a str, name: &'a str, subresource: &'a str) -> Resource<'a> {
    Resource { group: &resource.group, resource: &resource.plural, subresource, namespace, name }
}
