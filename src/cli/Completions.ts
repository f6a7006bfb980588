/**
 * Completions for bash, zsh and fish.
 *
 * The scripts of the command library complete no command with a colon in its name, in bash and in zsh, where a colon has a meaning of its
 * own. Its lines for fish say everything about commands and options, so they are read, and the scripts are written from them.
 */
import * as Option from "effect/Option"

type Shell = "bash" | "zsh" | "fish"

interface Word {
  readonly name: string
  readonly about: string
}

interface CommandOption extends Word {
  /** What its value is; none for a switch. */
  readonly value: Option.Option<"text" | "folder" | "file" | ReadonlyArray<string>>
}

interface CommandWord extends Word {
  readonly options: ReadonlyArray<CommandOption>
}

/** The shell that a command line asks completions for, if it does. */
export const requested = (argv: ReadonlyArray<string>): Option.Option<Shell> => {
  const at = argv.findIndex((word) => /^--completions(=|$)/.test(word))
  const name = at === -1 ? undefined : (argv[at]?.split("=")[1] ?? argv[at + 1])
  const shells: { readonly [name: string]: Shell } = { sh: "bash", bash: "bash", zsh: "zsh", fish: "fish" }
  return Option.flatMapNullable(Option.fromNullable(name), (known) => shells[known])
}

/** The script for `shell`, from the command library's lines for fish. */
export const script = (fishLines: ReadonlyArray<string>, shell: Shell): string => scripts[shell](read(fishLines))

/** Options of the library's own that are of no use to anybody who types. */
const hidden = new Set(["wizard", "log-level", "completions", "version"])

const folders = new Set(["seeds", "embedded-dir"])
const files = new Set(["config"])

/** Commands and their options, from the library's lines for fish. */
const read = (lines: ReadonlyArray<string>): ReadonlyArray<CommandWord> => {
  const about = (line: string) =>
    (/ -d '(.*)'$/.exec(line)?.[1] ?? "").replaceAll("\\'", "'").replace(/\. Example: .*/, "")
  const names = lines.flatMap((line) => {
    const [, name] = /-n "__fish_use_subcommand" -f -a "([^"{]+)"/.exec(line) ?? []
    return name === undefined ? [] : [{ name, about: about(line) }]
  })
  const optionsOf = (command: string) =>
    lines.flatMap((line) => {
      const [, of, name = ""] = /-n "__fish_seen_subcommand_from (\S+)".* -l (\S+)/.exec(line) ?? []
      return of === command && !hidden.has(name) ? [{ name, about: about(line), value: valueOf(line, name) }] : []
    })
  return names.map((word) => ({ ...word, options: optionsOf(word.name) }))
}

const valueOf = (line: string, name: string): CommandOption["value"] => {
  const [, words] = / -a "\{([^}]*)\}"/.exec(line) ?? []
  if (words !== undefined) return Option.some(words.replaceAll("'", "").split(","))
  if (!line.includes(" -r ")) return Option.none()
  return Option.some(folders.has(name) ? "folder" : files.has(name) ? "file" : "text")
}

const topOptions: ReadonlyArray<Word> = [
  { name: "help", about: "Show the commands" },
  { name: "version", about: "Show the version" }
]

const flags = (options: ReadonlyArray<Word>): string => options.map(({ name }) => `--${name}`).join(" ")

const bash = (commands: ReadonlyArray<CommandWord>): string => {
  const names = commands.map(({ name }) => name)
  const values = ({ name, value }: CommandOption): ReadonlyArray<string> =>
    Option.match(value, {
      onNone: () => [],
      onSome: (kind) => {
        if (kind === "text") return [`        --${name}) return ;;`]
        if (kind === "folder") return [`        --${name}) COMPREPLY=($(compgen -d -- "$cur")); return ;;`]
        if (kind === "file") return [`        --${name}) COMPREPLY=($(compgen -f -- "$cur")); return ;;`]
        return [`        --${name}) all="${kind.join(" ")}" ;;`]
      }
    })
  return `# bash: source <(es-ops --completions bash)
_es_ops() {
  local line="\${COMP_LINE:0:COMP_POINT}" cur="" prev="" cmd="" all="" word words before i
  read -ra words <<< "$line"
  if [[ "$line" != *[[:space:]] ]]; then
    cur="\${words[\${#words[@]}-1]}"
    unset "words[\${#words[@]}-1]"
  fi
  if (( \${#words[@]} > 0 )); then prev="\${words[\${#words[@]}-1]}"; fi
  for word in "\${words[@]:1}"; do
    case "$word" in ${names.join("|")}) cmd="$word"; break ;; esac
  done
  case "$cmd" in
    "") all="${names.join(" ")} ${flags(topOptions)}" ;;
${commands
  .map(({ name, options }) =>
    [
      `    ${name})`,
      '      case "$prev" in',
      ...options.flatMap(values),
      `        *) all="${flags(options)}" ;;`,
      "      esac ;;"
    ].join("\n")
  )
  .join("\n")}
  esac
  COMPREPLY=($(compgen -W "$all" -- "$cur"))
  # A colon ends a word for bash: what stands before it is on the line already.
  if [[ "$cur" == *:* && "$COMP_WORDBREAKS" == *:* ]]; then
    before="\${cur%"\${cur##*:}"}"
    for i in "\${!COMPREPLY[@]}"; do COMPREPLY[$i]="\${COMPREPLY[$i]#"$before"}"; done
  fi
}
complete -F _es_ops es-ops`
}

const zsh = (commands: ReadonlyArray<CommandWord>): string => {
  const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`
  const spec = ({ about, name, value }: CommandOption) => {
    const kind = Option.match(value, {
      onNone: () => "",
      onSome: (of) =>
        of === "text"
          ? ":value: "
          : of === "folder"
            ? ":folder:_files -/"
            : of === "file"
              ? ":file:_files"
              : `:word:(${of.join(" ")})`
    })
    return quoted(`--${name}[${about.replaceAll(/[[\]:]/g, "\\$&")}]${kind}`)
  }
  const described = ({ about, name }: Word) => quoted(`${name.replaceAll(":", "\\:")}:${about}`)
  return `#compdef es-ops
# zsh: source <(es-ops --completions zsh), or as _es-ops in a folder of fpath
_es_ops() {
  local cmd="" word
  local -a commands
  for word in "\${(@)words[2,CURRENT-1]}"; do
    case "$word" in (${commands.map(({ name }) => name).join("|")}) cmd="$word"; break ;; esac
  done
  case "$cmd" in
    ("")
      commands=(${commands.map(described).join("\n        ")})
      if [[ "$words[CURRENT]" == -* ]]; then _arguments ${topOptions.map((option) => spec({ ...option, value: Option.none() })).join(" ")}
      else _describe command commands; fi ;;
${commands.map(({ name, options }) => `    (${name}) _arguments '*: :' ${options.map(spec).join(" \\\n      ")} ;;`).join("\n")}
  esac
}
if [[ "$funcstack[1]" == (_es_ops|_es-ops) ]]; then _es_ops "$@"; else compdef _es_ops es-ops; fi`
}

const fish = (commands: ReadonlyArray<CommandWord>): string => {
  const quoted = (text: string) => `'${text.replaceAll(/['\\]/g, "\\$&")}'`
  const names = commands.map(({ name }) => name).join(" ")
  const none = `-n ${quoted(`not __fish_seen_subcommand_from ${names}`)}`
  const value = (of: CommandOption["value"]) =>
    Option.match(of, {
      onNone: () => "",
      onSome: (kind) =>
        kind === "text"
          ? " -x"
          : kind === "folder"
            ? " -x -a '(__fish_complete_directories)'"
            : kind === "file"
              ? " -r -F"
              : ` -x -a ${quoted(kind.join(" "))}`
    })
  return [
    "# fish: es-ops --completions fish | source",
    "complete -c es-ops -f",
    ...topOptions.map(({ about, name }) => `complete -c es-ops ${none} -l ${name} -d ${quoted(about)}`),
    ...commands.map(({ about, name }) => `complete -c es-ops ${none} -a ${name} -d ${quoted(about)}`),
    ...commands.flatMap((command) =>
      command.options.map(
        (option) =>
          `complete -c es-ops -n '__fish_seen_subcommand_from ${command.name}' -l ${option.name}${value(option.value)} -d ${quoted(option.about)}`
      )
    )
  ].join("\n")
}

const scripts: { readonly [shell in Shell]: (commands: ReadonlyArray<CommandWord>) => string } = { bash, zsh, fish }
