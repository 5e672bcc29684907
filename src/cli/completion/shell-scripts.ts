/**
 * The scripts that make a shell ask this program for completions. They hold no words themselves: what is offered is always what
 * the installed program has. The program prints `:files` where files may stand, and each candidate on a line of its own.
 */

/** The hidden command that the scripts run. */
export const completeCommand = "__complete";

export const shells = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof shells)[number];

// Bash splits words at colons and equal signs too, so the line is split here, and what bash took off a word is taken off the answers.
const bash = `# onefold completion bash: put  source <(onefold completion bash)  into ~/.bashrc
_onefold() {
  local line="\${COMP_LINE:0:COMP_POINT}" current="\${COMP_WORDS[COMP_CWORD]}" files=0 answer
  local -a words
  read -ra words <<< "$line"
  [[ "$line" == *[[:space:]] ]] && words+=("")
  local typed="\${words[\${#words[@]}-1]}"
  local cut="\${typed%"$current"}"
  COMPREPLY=()
  while IFS= read -r answer; do
    if [[ "$answer" == ":files" ]]; then files=1; else COMPREPLY+=("\${answer#"$cut"}"); fi
  done < <("\${words[0]}" ${completeCommand} -- "\${words[@]:1}" 2>/dev/null)
  if (( files )); then
    while IFS= read -r answer; do COMPREPLY+=("$answer"); done < <(compgen -f -- "$current")
    compopt -o filenames 2>/dev/null
  elif [[ "\${#COMPREPLY[@]}" -eq 1 && "\${COMPREPLY[0]}" == */ ]]; then
    compopt -o nospace 2>/dev/null
  fi
}
complete -F _onefold onefold
`;

const zsh = `#compdef onefold
# onefold completion zsh: put  source <(onefold completion zsh)  into ~/.zshrc, behind compinit
_onefold() {
  local answer
  local -a whole begun
  for answer in "\${(@f)$("\${words[1]}" ${completeCommand} -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
    case "$answer" in
      ("") ;;
      (:files) _files ;;
      (*/) begun+=("$answer") ;;
      (*) whole+=("$answer") ;;
    esac
  done
  (( \${#whole} )) && compadd -- "\${whole[@]}"
  (( \${#begun} )) && compadd -S '' -- "\${begun[@]}"
}
compdef _onefold onefold
`;

const fish = `# onefold completion fish: put  onefold completion fish | source  into ~/.config/fish/config.fish
function __onefold_complete
  set -l words (commandline -opc) (commandline -ct)
  for answer in ($words[1] ${completeCommand} -- $words[2..-1] 2>/dev/null)
    if test "$answer" = ":files"
      __fish_complete_path (commandline -ct)
    else
      echo $answer
    end
  end
end
complete -c onefold -f -a '(__onefold_complete)'
`;

export const shellScripts: Readonly<Record<Shell, string>> = { bash, zsh, fish };
