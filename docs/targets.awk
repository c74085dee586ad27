# Prints the targets and the variables of the Makefile: for a terminal, or with -v markdown=1 as docs/targets.md.
#
#   awk [-v markdown=1] -f docs/targets.awk Makefile
#
# A target is a line `name: prerequisites ## what it does`; a variable, a line `#   NAME=value  what it says` at the top of the
# file; a section, a line `# --- title`.

BEGIN {
    width = 118
    if (markdown) {
        print "# The targets of make"
        print ""
        print "`make` prints this list. `make docs` writes this page from the Makefile: do not edit it by hand."
        print ""
    }
}

/^#   [A-Z]+=/ {
    rest = substr($0, 5)
    match(rest, /  +/)
    variables[++count] = substr(rest, 1, RSTART - 1)
    meanings[count] = substr(rest, RSTART + RLENGTH)
}

/^# --- / { title = substr($0, 7) }

/^[a-z-]+:.*## / {
    heading(title)
    at = index($0, ":")
    entry(substr($0, 1, at - 1), substr($0, index($0, "## ") + 3))
}

END {
    title = "variables"
    heading(title)
    for (i = 1; i <= count; i++) entry(variables[i], meanings[i])
}

function heading(name) {
    if (name == printed) return
    printed = name
    if (markdown) printf "\n## %s%s\n\n", toupper(substr(name, 1, 1)), substr(name, 2)
    else if (name) printf "\n%s\n", name
}

function entry(name, does) {
    if (!markdown) printf "  \033[1m%-14s\033[0m %s\n", name, does
    else {
        gsub(/[<*]/, "\\\\&", does)
        wrap("- `" (name ~ /=/ ? "" : "make ") name "`: " does)
    }
}

function wrap(text,    words, n, line, i) {
    n = split(text, words, " ")
    line = words[1]
    for (i = 2; i <= n; i++) {
        if (length(line) + 1 + length(words[i]) > width) { print line; line = "  " words[i] }
        else line = line " " words[i]
    }
    print line
}
