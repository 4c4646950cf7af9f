//! `order`: another place for a directive among the others.

use crate::adapt::{Error, GlobalOption, OptionReader};
use crate::module::Module;

pub(super) static MODULE: Module = Module {
    options: &[GlobalOption {
        name: "order",
        syntax: "order <directive> first|last|before|after [<directive>]",
        parse,
    }],
    ..Module::EMPTY
};

fn parse(reader: &mut OptionReader<'_>) -> Result<(), Error> {
    let vocabulary = reader.vocabulary();
    let cursor = &mut reader.cursor;
    cursor.next();
    if !cursor.next() {
        return Err(cursor.arg_err());
    }
    let Some(directive) = vocabulary.directive(cursor.val()) else {
        let message = format!("{} is not a registered directive", cursor.val());
        return Err(cursor.err(message).did_you_mean(cursor.val(), vocabulary.directive_names()));
    };
    if !cursor.next() {
        return Err(cursor.arg_err());
    }
    let order = &mut reader.options.order;
    order.retain(|name| *name != directive.name);
    let at = match cursor.val() {
        "first" => 0,
        "last" => order.len(),
        position @ ("before" | "after") => {
            let after = position == "after";
            if !cursor.next_arg() {
                return Err(cursor.arg_err());
            }
            let other = cursor.val();
            let Some(at) = order.iter().position(|name| *name == other) else {
                let message = format!("directive '{other}' not found");
                return Err(cursor.err(message).did_you_mean(other, order.iter().copied()));
            };
            at + usize::from(after)
        }
        other => {
            let message = format!("unknown positional '{other}'");
            return Err(cursor.err(message).did_you_mean(other, ["first", "last", "before", "after"]));
        }
    };
    if cursor.next_arg() {
        return Err(cursor.arg_err());
    }
    order.insert(at, directive.name);
    Ok(())
}
