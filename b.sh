source ./c.bash
t() { COMP_LINE="$1"; COMP_POINT=${#1}; COMPREPLY=(); _es_ops; echo "[$1] -> ${COMPREPLY[*]}"; }
t "es-ops "; t "es-ops seed:"; t "es-ops seed:ap"; t "es-ops doc"; t "es-ops seed:apply --l"; t "es-ops seed:apply --late "; t "es-ops seed:apply --to "; t "es-ops --v"
