! The C functions that the module penstock calls: those of penstock.h, and those of descriptors.c (psf_).
! Beside them what the modules penstock and penstock_torch both need. Programs use the module penstock.

module penstock_c
  use, intrinsic :: iso_c_binding, only: c_bool, c_char, c_double, c_float, c_double_complex, &
    c_f_pointer, c_float_complex, c_funptr, c_int, c_int8_t, c_int16_t, c_int32_t, c_int64_t, c_null_ptr, c_ptr, c_size_t
  use, intrinsic :: iso_fortran_env, only: error_unit
  implicit none
  public

  integer, parameter :: status_of_tensors = 8  ! PENSTOCK_TENSOR

  type, bind(c) :: penstock_snapshot_c
    type(c_ptr) :: producer
    integer(c_int64_t) :: rank
    integer(c_int64_t) :: step
    integer(c_int) :: has_time
    real(c_double) :: time
    integer(c_int) :: count
    type(c_ptr) :: fields
  end type

  type, bind(c) :: penstock_bound_c
    integer(c_int64_t) :: items = 0
    integer(c_int64_t) :: bytes = 0
    integer(c_int) :: policy = 0
    integer(c_int64_t) :: keep_every = 0
    type(c_ptr) :: directory = c_null_ptr
    real(c_double) :: wait = 0
  end type

  type, bind(c) :: penstock_fill_c
    real(c_double) :: level
    integer(c_int64_t) :: items, bytes, announced, kept_from, dropped, skipped, spilled, waiting, &
      acknowledged
  end type

  interface
    function penstock_connect(address, timeout, client) bind(c) result(status)
      import :: c_double, c_int, c_ptr
      type(c_ptr), value :: address
      real(c_double), value :: timeout
      type(c_ptr), intent(out) :: client
      integer(c_int) :: status
    end function

    function penstock_close(client) bind(c) result(status)
      import :: c_ptr, c_int
      type(c_ptr), value :: client
      integer(c_int) :: status
    end function

    function penstock_set_identity(client, producer, rank) bind(c) result(status)
      import :: c_int, c_int64_t, c_ptr
      type(c_ptr), value :: client, producer
      integer(c_int64_t), value :: rank
      integer(c_int) :: status
    end function

    function penstock_producer(client) bind(c) result(text)
      import :: c_ptr
      type(c_ptr), value :: client
      type(c_ptr) :: text
    end function

    function penstock_rank(client) bind(c) result(rank)
      import :: c_int64_t, c_ptr
      type(c_ptr), value :: client
      integer(c_int64_t) :: rank
    end function

    function penstock_set_timeout(client, seconds) bind(c) result(status)
      import :: c_double, c_int, c_ptr
      type(c_ptr), value :: client
      real(c_double), value :: seconds
      integer(c_int) :: status
    end function

    function penstock_transport(client) bind(c) result(text)
      import :: c_ptr
      type(c_ptr), value :: client
      type(c_ptr) :: text
    end function

    function psf_lease(client, dtype, rank, dims, view) bind(c) result(status)
      import :: c_char, c_int, c_int64_t, c_ptr
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: dtype(*)
      integer(c_int), value :: rank
      integer(c_int64_t), intent(in) :: dims(*)
      type(c_ptr), intent(inout) :: view
      integer(c_int) :: status
    end function

    function penstock_map_tensor(client, name, view) bind(c) result(status)
      import :: c_char, c_int, c_ptr
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: name(*)
      type(c_ptr), intent(inout) :: view
      integer(c_int) :: status
    end function

    function psf_view_data(view) bind(c) result(address)
      import :: c_ptr
      type(c_ptr), value :: view
      type(c_ptr) :: address
    end function

    subroutine psf_view_layout(view, dtype, rank, dims) bind(c)
      import :: c_int, c_int64_t, c_ptr
      type(c_ptr), value :: view
      integer(c_int), intent(out) :: dtype, rank
      integer(c_int64_t), intent(out) :: dims(*)
    end subroutine

    subroutine penstock_unmap(view) bind(c)
      import :: c_ptr
      type(c_ptr), value :: view
    end subroutine

    function penstock_dtype_name(dtype) bind(c) result(text)
      import :: c_int, c_ptr
      integer(c_int), value :: dtype
      type(c_ptr) :: text
    end function

    function penstock_tensor_exists(client, name, exists) bind(c) result(status)
      import :: c_char, c_int, c_ptr
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: name(*)
      integer(c_int), intent(out) :: exists
      integer(c_int) :: status
    end function

    function penstock_delete_tensor(client, name) bind(c) result(status)
      import :: c_char, c_int, c_ptr
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: name(*)
      integer(c_int) :: status
    end function

    function penstock_announced(client, stream, count) bind(c) result(status)
      import :: c_char, c_int, c_int64_t, c_ptr
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: stream(*)
      integer(c_int64_t), intent(out) :: count
      integer(c_int) :: status
    end function

    function penstock_end_stream(client, stream) bind(c) result(status)
      import :: c_char, c_int, c_ptr
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: stream(*)
      integer(c_int) :: status
    end function

    function penstock_stream_ended(client, stream, producer, rank, ended) bind(c) result(status)
      import :: c_char, c_int, c_int64_t, c_ptr
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: stream(*), producer(*)
      integer(c_int64_t), value :: rank
      integer(c_int), intent(out) :: ended
      integer(c_int) :: status
    end function

    function penstock_last_outcome(client) bind(c) result(outcome)
      import :: c_int, c_ptr
      type(c_ptr), value :: client
      integer(c_int) :: outcome
    end function

    function penstock_bound_stream(client, stream, bound) bind(c) result(status)
      import :: c_char, c_int, c_ptr, penstock_bound_c
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: stream(*)
      type(penstock_bound_c), intent(in) :: bound
      integer(c_int) :: status
    end function

    function penstock_stream_fill(client, stream, fill) bind(c) result(status)
      import :: c_char, c_int, c_ptr, penstock_fill_c
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: stream(*)
      type(penstock_fill_c), intent(out) :: fill
      integer(c_int) :: status
    end function

    function penstock_subscribe(client, stream, consumer, position) bind(c) result(status)
      import :: c_char, c_int, c_int64_t, c_ptr
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: stream(*), consumer(*)
      integer(c_int64_t), intent(out) :: position
      integer(c_int) :: status
    end function

    function penstock_acknowledge(client, stream, consumer, position) bind(c) result(status)
      import :: c_char, c_int, c_int64_t, c_ptr
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: stream(*), consumer(*)
      integer(c_int64_t), value :: position
      integer(c_int) :: status
    end function

    function penstock_unsubscribe(client, stream, consumer) bind(c) result(status)
      import :: c_char, c_int, c_ptr
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: stream(*), consumer(*)
      integer(c_int) :: status
    end function

    function penstock_contract(client, stream, text) bind(c) result(status)
      import :: c_char, c_int, c_ptr
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: stream(*)
      type(c_ptr), intent(out) :: text
      integer(c_int) :: status
    end function

    function penstock_forget_stream(client, stream) bind(c) result(status)
      import :: c_char, c_int, c_ptr
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: stream(*)
      integer(c_int) :: status
    end function

    function penstock_raise_flag(client, name) bind(c) result(status)
      import :: c_char, c_int, c_ptr
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: name(*)
      integer(c_int) :: status
    end function

    function penstock_flag_raised(client, name, raised) bind(c) result(status)
      import :: c_char, c_int, c_ptr
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: name(*)
      integer(c_int), intent(out) :: raised
      integer(c_int) :: status
    end function

    function penstock_request_stop(client) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: client
      integer(c_int) :: status
    end function

    function penstock_stop_requested(client, requested) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: client
      integer(c_int), intent(out) :: requested
      integer(c_int) :: status
    end function

    function penstock_post_model(client, name, model, size, version, device, about, promote) bind(c) &
        result(status)
      import :: c_char, c_int, c_int8_t, c_int64_t, c_ptr, c_size_t
      type(c_ptr), value :: client, device, about
      character(kind=c_char), intent(in) :: name(*)
      integer(c_int8_t), intent(in) :: model(*)
      integer(c_size_t), value :: size
      integer(c_int64_t), value :: version
      integer(c_int), value :: promote
      integer(c_int) :: status
    end function

    function penstock_model_version(client, name, version) bind(c) result(status)
      import :: c_char, c_int, c_int64_t, c_ptr
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: name(*)
      integer(c_int64_t), intent(out) :: version
      integer(c_int) :: status
    end function

    function penstock_promote_model(client, name, version) bind(c) result(status)
      import :: c_char, c_int, c_int64_t, c_ptr
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: name(*)
      integer(c_int64_t), value :: version
      integer(c_int) :: status
    end function

    function penstock_report_error(client, name, error, version) bind(c) result(status)
      import :: c_char, c_double, c_int, c_int64_t, c_ptr
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: name(*)
      real(c_double), value :: error
      integer(c_int64_t), value :: version
      integer(c_int) :: status
    end function

    function penstock_wait_tensor(client, name, timeout) bind(c) result(status)
      import :: c_char, c_double, c_int, c_ptr
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: name(*)
      real(c_double), value :: timeout
      integer(c_int) :: status
    end function

    function penstock_wait_dataset(client, name, timeout) bind(c) result(status)
      import :: c_char, c_double, c_int, c_ptr
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: name(*)
      real(c_double), value :: timeout
      integer(c_int) :: status
    end function

    function penstock_wait_flag(client, name, timeout) bind(c) result(status)
      import :: c_char, c_double, c_int, c_ptr
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: name(*)
      real(c_double), value :: timeout
      integer(c_int) :: status
    end function

    function penstock_wait_list(client, list, length, timeout, found) bind(c) result(status)
      import :: c_char, c_double, c_int, c_int64_t, c_ptr
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: list(*)
      integer(c_int64_t), value :: length
      real(c_double), value :: timeout
      integer(c_int64_t), intent(out) :: found
      integer(c_int) :: status
    end function

    function penstock_wait_model(client, name, after, timeout, version) bind(c) result(status)
      import :: c_char, c_double, c_int, c_int64_t, c_ptr
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: name(*)
      integer(c_int64_t), value :: after
      real(c_double), value :: timeout
      integer(c_int64_t), intent(out) :: version
      integer(c_int) :: status
    end function

    function penstock_flush(client, timeout) bind(c) result(status)
      import :: c_double, c_int, c_ptr
      type(c_ptr), value :: client
      real(c_double), value :: timeout
      integer(c_int) :: status
    end function

    function penstock_set_queue(client, bytes) bind(c) result(status)
      import :: c_int, c_ptr, c_size_t
      type(c_ptr), value :: client
      integer(c_size_t), value :: bytes
      integer(c_int) :: status
    end function

    function psf_error(client) bind(c) result(text)
      import :: c_ptr
      type(c_ptr), value :: client
      type(c_ptr) :: text
    end function

    function psf_put_tensor(client, name, array, reversed, async) bind(c) result(status)
      import :: c_char, c_int, c_ptr
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: name(*)
      type(*), dimension(..), intent(in) :: array
      integer(c_int), value :: reversed, async
      integer(c_int) :: status
    end function

    function psf_get_tensor(client, name, array, reversed) bind(c) result(status)
      import :: c_char, c_int, c_ptr
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: name(*)
      type(*), dimension(..), intent(inout) :: array
      integer(c_int), value :: reversed
      integer(c_int) :: status
    end function

    function psf_new_real64(client, name, array, reversed) bind(c) result(status)
      import :: c_char, c_int, c_ptr, c_double
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: name(*)
      real(c_double), allocatable, intent(inout) :: array(..)
      integer(c_int), value :: reversed
      integer(c_int) :: status
    end function

    function psf_new_real32(client, name, array, reversed) bind(c) result(status)
      import :: c_char, c_int, c_ptr, c_float
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: name(*)
      real(c_float), allocatable, intent(inout) :: array(..)
      integer(c_int), value :: reversed
      integer(c_int) :: status
    end function

    function psf_new_int64(client, name, array, reversed) bind(c) result(status)
      import :: c_char, c_int, c_ptr, c_int64_t
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: name(*)
      integer(c_int64_t), allocatable, intent(inout) :: array(..)
      integer(c_int), value :: reversed
      integer(c_int) :: status
    end function

    function psf_new_int32(client, name, array, reversed) bind(c) result(status)
      import :: c_char, c_int, c_ptr, c_int32_t
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: name(*)
      integer(c_int32_t), allocatable, intent(inout) :: array(..)
      integer(c_int), value :: reversed
      integer(c_int) :: status
    end function

    function psf_new_int16(client, name, array, reversed) bind(c) result(status)
      import :: c_char, c_int, c_ptr, c_int16_t
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: name(*)
      integer(c_int16_t), allocatable, intent(inout) :: array(..)
      integer(c_int), value :: reversed
      integer(c_int) :: status
    end function

    function psf_new_int8(client, name, array, reversed) bind(c) result(status)
      import :: c_char, c_int, c_ptr, c_int8_t
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: name(*)
      integer(c_int8_t), allocatable, intent(inout) :: array(..)
      integer(c_int), value :: reversed
      integer(c_int) :: status
    end function

    function psf_new_complex64(client, name, array, reversed) bind(c) result(status)
      import :: c_char, c_int, c_ptr, c_double_complex
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: name(*)
      complex(c_double_complex), allocatable, intent(inout) :: array(..)
      integer(c_int), value :: reversed
      integer(c_int) :: status
    end function

    function psf_new_complex32(client, name, array, reversed) bind(c) result(status)
      import :: c_char, c_int, c_ptr, c_float_complex
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: name(*)
      complex(c_float_complex), allocatable, intent(inout) :: array(..)
      integer(c_int), value :: reversed
      integer(c_int) :: status
    end function

    function psf_new_bool(client, name, array, reversed) bind(c) result(status)
      import :: c_char, c_int, c_ptr, c_bool
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: name(*)
      logical(c_bool), allocatable, intent(inout) :: array(..)
      integer(c_int), value :: reversed
      integer(c_int) :: status
    end function

    function psf_tensor_info(client, name, reversed, dtype, rank, dims) bind(c) result(status)
      import :: c_char, c_int, c_int64_t, c_ptr
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: name(*)
      integer(c_int), value :: reversed
      integer(c_int), intent(out) :: dtype, rank
      integer(c_int64_t), intent(inout) :: dims(*)
      integer(c_int) :: status
    end function

    function psf_fields_new() bind(c) result(fields)
      import :: c_ptr
      type(c_ptr) :: fields
    end function

    subroutine psf_fields_add(fields, name, array, reversed) bind(c)
      import :: c_char, c_int, c_ptr
      type(c_ptr), value :: fields
      character(kind=c_char), intent(in) :: name(*)
      type(*), dimension(..), intent(in) :: array
      integer(c_int), value :: reversed
    end subroutine

    function psf_is_text(array) bind(c) result(yes)
      import :: c_int
      type(*), dimension(..), intent(in) :: array
      integer(c_int) :: yes
    end function

    subroutine psf_fields_unpaired(fields) bind(c)
      import :: c_ptr
      type(c_ptr), value :: fields
    end subroutine

    function psf_put_snapshot(client, stream, step, time, fields, async) bind(c) result(status)
      import :: c_char, c_double, c_int, c_int64_t, c_ptr
      type(c_ptr), value :: client, fields
      character(kind=c_char), intent(in) :: stream(*)
      integer(c_int64_t), value :: step
      real(c_double), value :: time
      integer(c_int), value :: async
      integer(c_int) :: status
    end function

    function psf_get_snapshot(client, stream, position, fields, snapshot) bind(c) result(status)
      import :: c_char, c_int, c_int64_t, c_ptr, penstock_snapshot_c
      type(c_ptr), value :: client, fields
      character(kind=c_char), intent(in) :: stream(*)
      integer(c_int64_t), value :: position
      type(penstock_snapshot_c), intent(inout) :: snapshot
      integer(c_int) :: status
    end function

    function psf_describe_field(client, stream, field, units, dims, rank, shape, offset, reversed) bind(c) &
        result(status)
      import :: c_char, c_int, c_int64_t, c_ptr
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: stream(*), field(*), units(*), dims(*)
      integer(c_int), value :: rank, reversed
      integer(c_int64_t), intent(in) :: shape(*), offset(*)
      integer(c_int) :: status
    end function

    function psf_field_info(client, stream, position, field, reversed, dtype, rank, dims, blocks, shape, offset, &
        units, names) bind(c) result(status)
      import :: c_char, c_int, c_int64_t, c_ptr
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: stream(*), field(*)
      integer(c_int64_t), value :: position
      integer(c_int), value :: reversed
      integer(c_int), intent(out) :: dtype, rank, blocks
      integer(c_int64_t), intent(inout) :: dims(*), shape(*), offset(*)
      type(c_ptr), intent(out) :: units, names
      integer(c_int) :: status
    end function

    function psf_get_model(client, model, version, array) bind(c) result(status)
      import :: c_char, c_int, c_int8_t, c_int64_t, c_ptr
      type(c_ptr), value :: client
      character(kind=c_char), intent(in) :: model(*)
      integer(c_int64_t), value :: version
      integer(c_int8_t), allocatable, intent(inout) :: array(:)
      integer(c_int) :: status
    end function

    function psf_run_by(run, model, inputs, outputs, refused) bind(c) result(status)
      import :: c_funptr, c_int, c_ptr
      type(c_funptr), value :: run
      type(c_ptr), value :: model, inputs, outputs
      integer(c_int), intent(out) :: refused
      integer(c_int) :: status
    end function

    function psf_infer(client, model, version, inputs, outputs) bind(c) result(status)
      import :: c_char, c_int, c_int64_t, c_ptr
      type(c_ptr), value :: client, inputs, outputs
      character(kind=c_char), intent(in) :: model(*)
      integer(c_int64_t), value :: version
      integer(c_int) :: status
    end function

    function psf_infer_versioned(client, model, inputs, outputs, version) bind(c) result(status)
      import :: c_char, c_int, c_int64_t, c_ptr
      type(c_ptr), value :: client, inputs, outputs
      character(kind=c_char), intent(in) :: model(*)
      integer(c_int64_t), intent(out) :: version
      integer(c_int) :: status
    end function
  end interface

contains

  ! Hand an error to the program, or end it where it does not ask.
  subroutine give(status, text, stat, errmsg)
    integer, intent(in) :: status
    character(len=*), intent(in) :: text
    integer, intent(out), optional :: stat
    character(len=*), intent(inout), optional :: errmsg
    if (present(errmsg)) errmsg = text
    if (.not. present(stat)) error stop text
    stat = status
  end subroutine

  ! Whether this array is of characters. gfortran passes the length of such a one, which no interface has, among
  ! those of the texts: that of each text behind it is wrong. So this is asked before any of them is touched, and
  ! told on standard error in place of errmsg.
  function is_refused(name, array, stat)
    character(len=*), intent(in), optional :: name
    type(*), dimension(..), intent(in), optional :: array
    integer, intent(out), optional :: stat
    logical :: is_refused
    character(len=:), allocatable :: text
    is_refused = .false.
    if (.not. present(array)) return
    is_refused = psf_is_text(array) /= 0
    if (.not. is_refused) return
    text = "?"
    if (present(name)) text = name
    text = "tensor '" // trim(text) // "': it is of characters, which cannot be sent"
    if (.not. present(stat)) error stop "penstock: " // text
    stat = status_of_tensors
    write (error_unit, "(a)") "penstock: " // text
  end function

  ! A text of C's, up to its NUL.
  function fortran_text(from) result(text)
    type(c_ptr), intent(in) :: from
    character(len=:), allocatable :: text
    character(kind=c_char), pointer :: letters(:)
    interface
      pure function strlen(text) bind(c) result(length)
        import :: c_ptr, c_size_t
        type(c_ptr), value :: text
        integer(c_size_t) :: length
      end function
    end interface
    integer :: i
    call c_f_pointer(from, letters, [strlen(from)])
    allocate(character(len=size(letters)) :: text)
    do i = 1, size(letters)
      text(i:i) = letters(i)
    end do
  end function
end module
