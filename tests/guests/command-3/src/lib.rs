//! A command for WASI 0.3: it writes a line for each argument, and fails without any.

wasip3::cli::command::export!(Guest);

struct Guest;

impl wasip3::exports::cli::run::Guest for Guest {
    async fn run() -> Result<(), ()> {
        let arguments = wasip3::cli::environment::get_arguments();
        for argument in arguments.iter().skip(1) {
            println!("wasi 0.3: {argument}");
        }
        if arguments.len() > 1 { Ok(()) } else { Err(()) }
    }
}
