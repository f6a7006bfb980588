/**
 * The scripts that complete a command line in bash, zsh and fish. The command library's own scripts complete no command with a colon in its
 * name: in bash and zsh a colon has a meaning of its own.
 */
import * as Option from "effect/Option"
import type { CommandDescription, OptionDescription, OptionValue } from "../CommandDescription.js"

/** The script for a shell, if there is one. */
export const script = (commands: ReadonlyArray<CommandDescription>, shell: string): Option.Option<string> =>
  Option.map(Option.fromNullable(scripts[shell]), (write) => write(commands))

/** Something to type, and what it means. */
interface Word {
  readonly name: string
  readonly about: string
}

const topOptions: ReadonlyArray<Word> = [
  { name: "help", about: "Show the commands" },
  { name: "version", about: "Show the version" }
]

const flags = (options: ReadonlyArray<Word>): string => options.map(({ name }) => `--${name}`).join(" ")

const bashValue = ({ kind, words }: OptionValue): string => {
  if (kind === "words") return `all="${words.join(" ")}"`
  if (kind === "text") return "return"
  return `COMPREPLY=($(compgen ${kind === "folder" ? "-d" : "-f"} -- "$cur")); return`
}

const bash = (commands: ReadonlyArray<CommandDescription>): string => {
  const names = commands.map(({ name }) => name)
  const values = ({ name, value }: OptionDescription): ReadonlyArray<string> =>
    Option.toArray(Option.map(value, (of) => `        --${name}) ${bashValue(of)} ;;`))
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

const zshValue = ({ kind, words }: OptionValue): string => {
  if (kind === "words") return `:word:(${words.join(" ")})`
  if (kind === "text") return ":value: "
  return kind === "folder" ? ":folder:_files -/" : ":file:_files"
}

const zsh = (commands: ReadonlyArray<CommandDescription>): string => {
  const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`
  const spec = ({ about, name, value }: OptionDescription) => {
    const kind = Option.match(value, { onNone: () => "", onSome: zshValue })
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

const fishValue = ({ kind, words }: OptionValue): string => {
  if (kind === "words") return ` -x -a '${words.join(" ")}'`
  if (kind === "text") return " -x"
  return kind === "folder" ? " -x -a '(__fish_complete_directories)'" : " -r -F"
}

const fish = (commands: ReadonlyArray<CommandDescription>): string => {
  const quoted = (text: string) => `'${text.replaceAll(/['\\]/g, "\\$&")}'`
  const names = commands.map(({ name }) => name).join(" ")
  const none = `-n ${quoted(`not __fish_seen_subcommand_from ${names}`)}`
  const value = (of: Option.Option<OptionValue>) => Option.match(of, { onNone: () => "", onSome: fishValue })
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

const scripts: { readonly [shell: string]: (commands: ReadonlyArray<CommandDescription>) => string } = {
  bash,
  sh: bash,
  zsh,
  fish
}
