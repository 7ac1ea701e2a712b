//! Protobuf messages as the generated code of k8s-pb spells them: structs with `#[prost(…, tag = "N")]`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context;

/// A module's path and a struct's name, as `["api", "core", "v1", "Pod"]`.
pub type MessagePath = Vec<String>;

/// Every message of the crate.
pub type Messages = BTreeMap<MessagePath, Vec<Field>>;

/// One field of a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// In snake case.
    pub name: String,
    /// Its number on the wire.
    pub tag: u32,
    /// For a message that is there at most once: which.
    pub message: Option<MessagePath>,
}

/// Reads every module below `source`.
pub fn read_crate(source: &Path) -> anyhow::Result<Messages> {
    let mut messages = Messages::new();
    read_folder(source, &mut Vec::new(), &mut messages)?;
    Ok(messages)
}

fn read_folder(folder: &Path, module: &mut Vec<String>, messages: &mut Messages) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            let name = path.file_name().and_then(|name| name.to_str()).context("a folder without a name")?;
            module.push(name.to_owned());
            read_folder(&path, module, messages)?;
            module.pop();
        } else if path.ends_with("mod.rs") {
            read_module(&fs::read_to_string(&path)?, module, messages);
        }
    }
    Ok(())
}

fn read_module(text: &str, module: &[String], messages: &mut Messages) {
    let mut fields: Option<(MessagePath, Vec<Field>)> = None;
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("pub struct ").and_then(|rest| rest.strip_suffix(" {")) {
            fields = Some((child(module, name), Vec::new()));
        } else if line == "}" {
            // A struct without fields is closed on its own line and so never opened here.
            if let Some((path, list)) = fields.take() {
                messages.insert(path, list);
            }
        } else if let (Some(attribute), Some((_, list))) = (line.strip_prefix("#[prost("), &mut fields) {
            let attribute = joined(attribute, &mut lines, ")]");
            let declaration = lines.next().unwrap_or_default();
            let declaration = joined(declaration, &mut lines, ",");
            list.extend(field(&attribute, &declaration, module));
        }
    }
}

/// `first` and the lines after it up to the one that ends in `end`.
fn joined<'a>(first: &str, lines: &mut impl Iterator<Item = &'a str>, end: &str) -> String {
    let mut text = first.to_owned();
    while !text.ends_with(end) {
        let Some(more) = lines.next() else { break };
        text.push_str(more);
    }
    text
}

fn field(attribute: &str, declaration: &str, module: &[String]) -> Option<Field> {
    let tag = attribute.split_once("tag = \"")?.1.split_once('"')?.0.parse().ok()?;
    let (name, ty) = declaration.strip_prefix("pub ")?.split_once(':')?;
    let name = name.strip_prefix("r#").unwrap_or(name).to_owned();
    let singular = attribute.starts_with("message, optional");
    Some(Field { name, tag, message: singular.then(|| message_path(ty, module)) })
}

/// The message in `Option<Box<super::super::v1::Rule>>`, relative to `module`.
fn message_path(ty: &str, module: &[String]) -> MessagePath {
    let inner = ty.rsplit('<').next().unwrap_or(ty).trim_end_matches(['>', ',']);
    let mut path = module.to_vec();
    for part in inner.split("::") {
        match part {
            "super" => drop(path.pop()),
            part => path.push(part.to_owned()),
        }
    }
    path
}

fn child(module: &[String], name: &str) -> MessagePath {
    let mut path = module.to_vec();
    path.push(name.to_owned());
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> MessagePath {
        text.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn fields_are_read_with_their_numbers_and_messages() {
        let text = r#"
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Volume {
    /// #[prost(string, optional, tag = "9")] in a comment is none
    #[prost(string, optional, tag = "1")]
    pub name: ::core::option::Option<::prost::alloc::string::String>,
    #[prost(message, optional, tag = "2")]
    pub r#source: ::core::option::Option<
        super::super::apimachinery::Source,
    >,
    #[prost(message, repeated, tag = "3")]
    pub items: ::prost::alloc::vec::Vec<Item>,
}
"#;
        let mut messages = Messages::new();
        read_module(text, &path("api.core"), &mut messages);
        let field = |name: &str, tag, message: Option<&str>| Field {
            name: name.to_owned(),
            tag,
            message: message.map(path),
        };
        assert_eq!(
            messages,
            Messages::from([(
                path("api.core.Volume"),
                vec![
                    field("name", 1, None),
                    field("source", 2, Some("apimachinery.Source")),
                    field("items", 3, None),
                ]
            )])
        );
    }
}
