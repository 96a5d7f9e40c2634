//! The names of files and crates that follow from the name of a module.

use super::sdk::LOCK;
use super::template::Language;

/// Names that a crate cannot have, because Rust reserves them or the standard library uses them.
const RUST: &str = "\
    abstract alloc as async await become box break const continue core crate do dyn else enum extern false final fn for \
    gen if impl in let loop macro match mod move mut override priv proc-macro pub ref return self static std struct \
    super test trait true try type typeof union unsafe unsized use virtual where while yield";

/// Names that a file in Python cannot have, because the language reserves them, or because the file
/// would hide a module of the standard library or of the tools.
const PYTHON: &str = "\
    and as assert async await break class continue def del elif else except finally for from global if import in is \
    lambda nonlocal not or pass raise return try while with yield \
    abc aifc antigravity argparse array ast asynchat asyncio asyncore atexit audioop base64 bdb binascii bisect builtins \
    bz2 cProfile calendar cgi cgitb chunk cmath cmd code codecs codeop collections colorsys compileall compression \
    concurrent configparser contextlib contextvars copy copyreg crypt csv ctypes curses dataclasses datetime dbm decimal \
    difflib dis distutils doctest email encodings ensurepip enum errno faulthandler fcntl filecmp fileinput fnmatch \
    fractions ftplib functools gc genericpath getopt getpass gettext glob graphlib grp gzip hashlib heapq hmac html http \
    idlelib imaplib imghdr imp importlib inspect io ipaddress itertools json keyword lib2to3 linecache locale logging \
    lzma mailbox mailcap marshal math mimetypes mmap modulefinder msilib msvcrt multiprocessing netrc nis nntplib nt \
    ntpath nturl2path numbers opcode operator optparse os ossaudiodev pathlib pdb pickle pickletools pipes pkgutil \
    platform plistlib poplib posix posixpath pprint profile pstats pty pwd py_compile pyclbr pydoc pydoc_data pyexpat \
    queue quopri random re readline reprlib resource rlcompleter runpy sched secrets select selectors shelve shlex \
    shutil signal site smtpd smtplib sndhdr socket socketserver spwd sqlite3 sre_compile sre_constants sre_parse ssl \
    stat statistics string stringprep struct subprocess sunau symtable sys sysconfig syslog tabnanny tarfile telnetlib \
    tempfile termios test textwrap this threading time timeit tkinter token tokenize tomllib trace traceback tracemalloc \
    tty turtle turtledemo types typing unicodedata unittest urllib uu uuid venv warnings wave weakref webbrowser winreg \
    winsound wsgiref xdrlib xml xmlrpc zipapp zipfile zipimport zlib zoneinfo \
    componentize_py_async_support componentize_py_runtime componentize_py_types fanfare fanfare_app wit_world";

/// Names of other files in a module.
const C: &str = "buckets tests";

/// The name of the module's crate: that of the module, unless it is reserved or a dependency has
/// it.
pub fn crate_of(module: &str) -> String {
    let locked = format!("name = \"{module}\"");
    let is_taken = is_in(RUST, module) || LOCK.lines().any(|line| line == locked);
    if is_taken { format!("{module}-module") } else { module.to_owned() }
}

/// The name of the module's source or of its component, without the ending.
pub fn file_of(language: Language, module: &str) -> String {
    let snake = module.replace('-', "_");
    match language {
        Language::Rust => crate_of(module).replace('-', "_"),
        Language::Js | Language::Ts => module.to_owned(),
        Language::Python if is_in(PYTHON, &snake) => snake + "_module",
        Language::Python => snake,
        Language::C if is_in(C, module) => format!("{module}-module"),
        Language::C | Language::Zig | Language::Go => module.to_owned(),
    }
}

fn is_in(names: &str, name: &str) -> bool {
    names.split_whitespace().any(|reserved| reserved == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_has_the_name_of_its_module_unless_it_is_taken() {
        for (name, crate_name) in [
            ("hello", "hello"),
            ("my-module", "my-module"),
            ("test", "test-module"),
            ("async", "async-module"),
            ("serde", "serde-module"),
            ("fanfare-sdk", "fanfare-sdk-module"),
        ] {
            assert_eq!(crate_of(name), crate_name);
        }
    }

    #[test]
    fn a_file_hides_no_other_file_and_no_package() {
        for (language, name, file) in [
            (Language::Rust, "my-module", "my_module"),
            (Language::Rust, "test", "test_module"),
            (Language::Js, "class", "class"),
            (Language::Ts, "fanfare", "fanfare"),
            (Language::Python, "my-module", "my_module"),
            (Language::Python, "class", "class_module"),
            (Language::Python, "json", "json_module"),
            (Language::Python, "fanfare", "fanfare_module"),
            (Language::Python, "wit-world", "wit_world_module"),
            (Language::C, "my-module", "my-module"),
            (Language::C, "tests", "tests-module"),
            (Language::C, "int", "int"),
            (Language::Zig, "tests", "tests"),
            (Language::Go, "my-module", "my-module"),
        ] {
            assert_eq!(file_of(language, name), file);
        }
    }

    #[test]
    fn the_names_of_python_are_all_of_its_standard_library() {
        let script = "import keyword, sys; print(*keyword.kwlist, *sys.stdlib_module_names)";
        let Ok(output) = std::process::Command::new("python3").args(["-c", script]).output() else {
            assert_ne!(std::env::var("FANFARE_TEST_REQUIRE").as_deref(), Ok("all"), "not run: install python3");
            return;
        };
        // A module's name begins with a lower case letter.
        let names = String::from_utf8(output.stdout).unwrap();
        let possible = names.split_whitespace().filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase()));
        let missing: Vec<&str> = possible.filter(|name| !is_in(PYTHON, name)).collect();
        assert!(!names.is_empty() && missing.is_empty(), "{missing:?}");
    }
}
