//! The attribute `#[handler]`. Use it through `fanfare-sdk`, which re-exports it.

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, FnArg, ItemFn, LitStr, Pat, ReturnType, Safety, parse_macro_input};

/// Makes a function a handler: each argument is read from the call, and the result becomes its
/// outcome.
///
/// The function may be `async`. It stays unchanged, so tests can call it. Its name is the name of
/// the handler in the manifest, unless `#[handler(name = "..")]` sets another one. List the
/// function in `fanfare_sdk::module!`.
///
/// The attribute also defines a hidden type with the name of the function. So a handler named
/// `broadcast` would hide the module `broadcast` of the prelude: name the function `on_broadcast`
/// and write `#[handler(name = "broadcast")]`.
#[proc_macro_attribute]
pub fn handler(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let mut name: Option<LitStr> = None;
    let parser = syn::meta::parser(|meta| {
        if !meta.path.is_ident("name") {
            return Err(meta.error("unknown option: write `#[handler]` or `#[handler(name = \"..\")]`"));
        }
        name = Some(meta.value()?.parse()?);
        Ok(())
    });
    parse_macro_input!(attribute with parser);
    let function = parse_macro_input!(item as ItemFn);
    match expand(&function, name) {
        Ok(tokens) => tokens,
        // Keep the function, so that the compiler reports no error but this one.
        Err(error) => {
            let error = error.into_compile_error();
            quote!(#function #error)
        }
    }
    .into()
}

fn expand(function: &ItemFn, name: Option<LitStr>) -> Result<Tokens, Error> {
    let signature = &function.sig;
    if let Some(parameter) = signature.generics.params.first() {
        let message = "a handler cannot be generic, because the manifest names one function: use concrete types";
        return Err(Error::new(parameter.span(), message));
    }
    if let Safety::Unsafe(token) = &signature.safety {
        let message = "a handler cannot be `unsafe`: write a safe function and use an `unsafe` block inside it";
        return Err(Error::new(token.span(), message));
    }
    let identifier = &signature.ident;
    let visibility = &function.vis;
    let name = name.unwrap_or_else(|| LitStr::new(&identifier.to_string(), identifier.span()));

    let mut extract = Vec::new();
    let mut arguments = Vec::new();
    for (index, input) in signature.inputs.iter().enumerate() {
        let FnArg::Typed(argument) = input else {
            return Err(Error::new(input.span(), "a handler cannot have `self`: write it as a free function"));
        };
        let ty = &argument.ty;
        let label = argument_name(&argument.pat).unwrap_or_else(|| index.to_string());
        let variable = format_ident!("argument_{index}", span = ty.span());
        extract.push(quote_spanned! {ty.span()=>
            let #variable = <#ty as ::fanfare_sdk::FromCall>::from_call(&mut incoming, #label)?;
        });
        arguments.push(variable);
    }

    let wait = signature.asyncness.map(|_| quote!(.await));
    let result_span = match &signature.output {
        ReturnType::Default => identifier.span(),
        ReturnType::Type(_, ty) => ty.span(),
    };
    let outcome = quote_spanned!(result_span=> ::fanfare_sdk::IntoOutcome::into_outcome(result));

    Ok(quote! {
        #function

        #[doc(hidden)]
        #[allow(non_camel_case_types)]
        #visibility struct #identifier {}

        impl ::fanfare_sdk::Handler for #identifier {
            const NAME: &'static str = #name;

            #[allow(unused_mut, unused_variables, clippy::let_unit_value)]
            async fn call(mut incoming: ::fanfare_sdk::Incoming) -> ::fanfare_sdk::Result<::fanfare_sdk::Outcome> {
                #(#extract)*
                let result = #identifier(#(#arguments),*) #wait;
                #outcome
            }
        }
    })
}

/// Returns the name of the parameter to read: the name of the argument, also inside a pattern such
/// as `Path(name)`.
fn argument_name(pattern: &Pat) -> Option<String> {
    match pattern {
        Pat::Ident(ident) => Some(ident.ident.to_string().trim_start_matches("r#").trim_start_matches('_').to_owned()),
        Pat::TupleStruct(tuple) if tuple.elems.len() == 1 => argument_name(tuple.elems.first()?),
        Pat::Paren(inner) => argument_name(&inner.pat),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn a_function_that_cannot_be_a_handler_is_rejected_with_the_fix() {
        for (source, message) in [
            (
                "fn f<T>(x: T) {}",
                "a handler cannot be generic, because the manifest names one function: use concrete types",
            ),
            (
                "unsafe fn f() {}",
                "a handler cannot be `unsafe`: write a safe function and use an `unsafe` block inside it",
            ),
            ("fn f(self) {}", "a handler cannot have `self`: write it as a free function"),
        ] {
            let function = syn::parse_str(source).unwrap();
            assert_eq!(expand(&function, None).unwrap_err().to_string(), message, "{source}");
        }
    }
}
