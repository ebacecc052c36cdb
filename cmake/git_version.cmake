# Writes OUT, a header with the commit of SOURCE, "-dirty" behind it where files differ from it; only where it changes.
execute_process(COMMAND git describe --always --dirty --abbrev=12 "--exclude=*" WORKING_DIRECTORY ${SOURCE}
                OUTPUT_VARIABLE GIT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
file(CONFIGURE OUTPUT ${OUT} CONTENT "#define EFFLLM_GIT \"${GIT}\"\n")
